"""Experiments that run on the same units: does one change what the other does?"""
