"""Moves the traffic: bandits by what their figures say, fixed designs back to their plan."""
