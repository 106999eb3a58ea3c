"""The steps and the rules they follow: one folder per capability."""
