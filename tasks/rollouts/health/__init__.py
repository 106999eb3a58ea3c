"""What is measured of a version, where it is read, and what a health check is."""
