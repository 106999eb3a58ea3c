"""The steps of rollouts: change one, tick all, watch, load samples, follow a winner."""
