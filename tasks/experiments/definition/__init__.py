"""What an experiment is: planned, created, changed."""
