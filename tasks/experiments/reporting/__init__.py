"""What people are shown of experiments."""
