"""A card of volumes with two targets, for tests to change."""

from __future__ import annotations

LIVER_CARD = """
name = "x"
version = "1"
licence = "CC0"
citation = "nobody"
modality = "MR"
dimension = 3
[images]
path = "{case}.nii.gz"
[masks]
path = "{case}_seg.nii.gz"
[targets]
liver = 1
kidney = { ids = [2, 3], whole = true }
"""
