"""The guards that judge a check: a bare threshold, or evidence that adds up over the stage."""
