"""A card of six pictures of skin."""

from __future__ import annotations

CARD = """
name = "skin"
version = "1"
licence = "CC0"
citation = "nobody"
modality = "dermoscopy"
dimension = 2
published = true
[images]
path = "images/{image}.png"
[masks]
path = "masks/{image}.png"
[targets]
lesion = 1
"""
