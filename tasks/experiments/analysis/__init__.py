"""A look at an experiment: gather the evidence, decide, write down."""
