"""Segments: where an effect is another one, and experiments for one segment alone."""
