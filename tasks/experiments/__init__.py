"""Experiments: who saw what, what came of it, and whether there is a winner."""
