"""Between two ticks: whoever listens for samples, and for ticks that do not come."""
