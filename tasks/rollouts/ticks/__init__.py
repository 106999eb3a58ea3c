"""One tick of many rollouts: measured, decided and written down together."""
