"""Hazards of migrations: what a revision's SQL would do to a database that is in use."""
