"""Move one revision on a live database: locks, fencing, the journal of statements, what is kept."""
