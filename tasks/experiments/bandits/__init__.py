"""Who gets the next units: the rules that move the traffic of an experiment."""
