"""Are an experiment's data fit to decide on? Checks that each see one way in which they are not."""
