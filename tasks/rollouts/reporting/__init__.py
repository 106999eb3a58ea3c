"""What people are shown of rollouts."""
