"""Prompted slices of an image to one mask."""
