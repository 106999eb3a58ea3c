"""What applications ask over HTTP: flags, events, health. It stands on the SQL functions alone."""
