"""Training of specialists: networks of one modality or task that take the box as one more channel."""
