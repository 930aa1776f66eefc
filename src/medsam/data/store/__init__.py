"""The training store: written, merged, read."""
