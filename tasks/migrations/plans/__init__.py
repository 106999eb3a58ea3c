"""A plan with all that was judged about it, kept by its hash."""
