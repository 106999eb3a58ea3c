"""The rules that judge an experiment: pure, on what they are given."""
