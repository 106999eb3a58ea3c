"""The command line's commands, one module per capability; `flows/cli.py` puts them together."""
