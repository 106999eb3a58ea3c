"""Staged rollouts: a version goes to a growing share of users while its health is watched."""
