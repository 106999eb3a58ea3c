"""Join two heads, if the order of their branches does not matter."""
