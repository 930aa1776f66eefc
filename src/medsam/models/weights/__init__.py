"""Weights: files, names, the catalog, loading and saving."""
