"""Hostile inputs by the thousand: `python -m benchmarks.fuzz`. Every case comes from a seed and its number alone."""
