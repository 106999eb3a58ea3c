"""One module per pipeline. A flow reads like its own description and holds no logic."""
