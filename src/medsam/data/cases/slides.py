"""Whole slides as cases: 1024 x 1024 tiles without overlap, padded with 0 at the border (paper, Dataset curation)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from medsam.data.cards.card import Card
from medsam.data.cases.case import (
    Bits,
    CaseResult,
    Excluded,
    Found,
    StoredSlice,
    collect,
    describe_fault,
    make_pictures,
)
from medsam.data.cases.paths import CaseFiles, MaskFile
from medsam.data.cases.published_forms import draw_outlines, load_outlines
from medsam.data.cases.quality import Fault, Reason
from medsam.errors import MedsamError
from medsam.imaging.image import Grid, Image, Mask
from medsam.io.pictures.slides import TILE_PX, Tile, iter_tiles

Labels = Callable[[Tile], np.ndarray]


def read_slide(card: Card, case: CaseFiles, root: Path, *, bits: Bits = 8) -> CaseResult:
    """Make pairs of a slide's tiles; tiles without a target are passed over.

    Masks are slides of the same size whose grey values are labels, or outlines in an Aperio XML. The catalogue's `slice`
    is the tile's number, counted along rows.
    """
    if case.excluded:
        return CaseResult(case, excluded=(Excluded(Reason.LISTED, case.excluded),))
    found_all, slices, number = Found(), list[StoredSlice](), 0
    try:
        sources = [(file, _labels(card, file, root)) for file in case.masks]
        for number, tile in enumerate(iter_tiles(root / case.image, TILE_PX), start=1):
            slices += _tile(card, (number - 1, tile), sources, found_all, bits)
    except Fault as fault:
        return CaseResult(case, excluded=(describe_fault(fault, case, root),))
    except MedsamError as error:
        return CaseResult(
            case, excluded=(describe_fault(Fault(Reason.UNREADABLE, error.got, quotes=True), case, root),)
        )
    if not found_all.read:
        found_all.excluded.append(Excluded(Reason.EMPTY))
    return CaseResult(case, tuple(slices), tuple(found_all.excluded), found_all.read, max(number, 1))


def _tile(
    card: Card, numbered: tuple[int, Tile], sources: list[tuple[MaskFile, Labels]], found_all: Found, bits: Bits
) -> list[StoredSlice]:
    number, tile = numbered
    grid = Grid((1, *tile.values.shape[:2]))
    image = Image(tile.values[None], grid, modality=card.modality)
    found = Found()
    for file, labels_of in sources:
        labels = labels_of(tile)
        if (labels != card.masks.background).any():
            collect(card, file.targets, image, Mask(labels[None], grid), found)
    found_all.read += found.read
    found_all.excluded += found.excluded
    pictures = make_pictures(card, image, found, bits)
    for picture in pictures:
        picture.index = number
    return pictures


def _labels(card: Card, file: MaskFile, root: Path) -> Labels:
    """What gives the labels under a tile.

    Raises:
        Fault: no mask file.
    """
    if not file.files:
        raise Fault(Reason.NO_MASK, f"no file matches {file.template}", quotes=True)
    path = root / file.files[0]
    if card.masks.form == "aperio-xml":
        outlines = load_outlines(path)
        return lambda tile: _drawn(outlines, tile, card.masks.background)
    tiles = iter_tiles(path, TILE_PX)
    return lambda tile: _next_to(next(tiles, None), tile)


def _drawn(outlines: list[np.ndarray], tile: Tile, background: int) -> np.ndarray:
    """The outlines that touch a tile, on it, numbered from 1."""
    size = np.array(tile.values.shape[1::-1])
    corner = np.array([tile.x, tile.y])
    near = [o - corner for o in outlines if (o.max(axis=0) >= corner).all() and (o.min(axis=0) < corner + size).all()]
    drawn: np.ndarray = draw_outlines(near, Grid((1, *tile.values.shape[:2]))).labels[0]
    return np.asarray(drawn + np.uint16(background))


def _next_to(mask: Tile | None, tile: Tile) -> np.ndarray:
    if mask is None or (mask.x, mask.y, mask.width, mask.height) != (tile.x, tile.y, tile.width, tile.height):
        raise Fault(Reason.OTHER_GRID, "the mask's slide has another size")
    labels: np.ndarray = mask.values.max(axis=2)
    return labels
