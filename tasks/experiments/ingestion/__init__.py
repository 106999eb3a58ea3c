"""Events and assignments: read, checked, loaded once."""
