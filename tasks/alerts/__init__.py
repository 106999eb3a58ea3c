"""What needs a person's eye: one open alert for each subject and metric, until it is healthy."""
