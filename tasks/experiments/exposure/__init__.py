"""Over time since exposure: does an effect last, or was it for what is new?"""
