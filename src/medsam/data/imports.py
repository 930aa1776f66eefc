"""MedSAM's own trees into a store: npy folders of the released pre-processing, and npz files per case or challenge."""

from __future__ import annotations

import json
from pathlib import Path

from medsam.data.cards.card import Card, parse_card
from medsam.data.store.curate import CuratedSource, CurateReport, curate
from medsam.errors import DataError
from medsam.imaging.modality import parse_modality


def import_tree(tree: Path, store: Path, *, name: str, modality: str, licence: str) -> CurateReport:
    """Curate a tree of imgs/*.npy and gts/*.npy, or of *.npz files with imgs and gts.

    Args:
        tree: The folder; npy trees hold slices of 1024 x 1024 x 3 in [0, 1], npz files slices or volumes in [0, 255].
        store: Where to; made where it does not exist.
        name: Of the data set in the store.
        modality: What made the images.
        licence: Under which the data may be used.

    Raises:
        DataError: neither kind of tree.
    """
    return curate([CuratedSource(describe_tree(tree, name=name, modality=modality, licence=licence), tree)], store)


def describe_tree(tree: Path, *, name: str, modality: str, licence: str) -> Card:
    """The card that describes such a tree; names are CASE-SLICE, and the case is the group."""
    if (tree / "imgs").is_dir() and (tree / "gts").is_dir():
        paths = "imgs/{case}-{slice:[0-9]+}.npy", "gts/{case}-{slice}.npy", 2
        if not list((tree / "imgs").glob("*-[0-9]*.npy")):
            paths = "imgs/{case}.npy", "gts/{case}.npy", 2
    elif any(tree.glob("*.npz")):
        paths = "{case}-{slice:[0-9]+}.npz", "{case}-{slice}.npz", 3
        if not list(tree.glob("*-[0-9]*.npz")):
            paths = "{case}.npz", "{case}.npz", 3
    else:
        raise DataError(
            f"{tree} has neither imgs/ and gts/ nor .npz files",
            expected="a tree of MedSAM's pre-processing",
            fix="check the path",
        )
    image, mask, dimension = paths
    text = f"""
name = {json.dumps(name)}
version = "imported"
licence = {json.dumps(licence)}
citation = "imported from a MedSAM tree; the original sets are not named in it"
modality = {json.dumps(parse_modality(modality).value)}
dimension = {dimension}
plane = "stored"
published = false
[images]
path = '{image}'
group = "{{case}}"
group_kind = "scan"
[masks]
path = '{mask}'
kind = "instance"
[targets]
target = "any"
"""
    return parse_card(text, str(tree))
