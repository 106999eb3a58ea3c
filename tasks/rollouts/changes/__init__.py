"""What a person or a winner does to a rollout, and the audit of it."""
