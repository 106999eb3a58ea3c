"""Try a migration on a copy of its target: what it locks, rewrites and loses, before it runs."""
