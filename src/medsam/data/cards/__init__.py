"""Data set cards: the format and those that ship."""
