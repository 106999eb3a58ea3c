"""Sufficient statistics: one value a unit, and their moments."""
