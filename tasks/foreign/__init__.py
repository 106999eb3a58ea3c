"""Databases of somebody else's: they are only ever read."""
