"""Experiments that share no unit: each has a part of its layer's buckets."""
