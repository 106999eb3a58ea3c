"""Who gets which variant."""
