"""Schema migrations: plan, apply, roll back and check, one revision at a time."""
