"""Multivariate experiments: what each factor does, from the statistics of the arms."""
