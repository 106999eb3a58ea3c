"""The kill harness: cut every step at every point, run it again, and compare."""
