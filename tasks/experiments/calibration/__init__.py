"""How often a metric's tests err on one's own units: their arms drawn anew, many times."""
