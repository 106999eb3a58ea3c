"""Ours against a reference, one JSON line a case: `python -m benchmarks [CASE …]`."""
