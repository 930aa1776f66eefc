"""One case of a data set from its files to pairs: read, check, normalize by modality, divide into objects."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.data.cards.card import Card, CardTarget
from medsam.data.cases.masks import read_labels
from medsam.data.cases.paths import CaseFiles
from medsam.data.cases.published_forms import read_npy_image, read_raw
from medsam.data.cases.quality import (
    RULES,
    TEXT_MODALITIES,
    Fault,
    Objects,
    Reason,
    check_image,
    check_mask,
    find_crop,
    find_objects,
    find_suspect_text,
    find_values,
)
from medsam.errors import IntensityError, MedsamError
from medsam.imaging.image import Image, Mask
from medsam.imaging.intensity import normalize, normalize_16bit
from medsam.imaging.modality import RULES as INTENSITY_RULES
from medsam.imaging.modality import IntensityRule
from medsam.io.formats import read_image

Bits = Literal[8, 16]


@dataclass(frozen=True)
class Excluded:
    """Something that was read and not kept; `pairs` is how many image-mask pairs it would have made (0: not known).

    Where `quotes` is set the detail may name files, as in Fault.
    """

    reason: Reason
    detail: str = ""
    target: str = ""
    pairs: int = 0
    quotes: bool = False

    @property
    def is_fault(self) -> bool:
        """Whether a file is at fault and not a rule of the curation."""
        return self.reason not in RULES


@dataclass(frozen=True)
class StoredPair:
    """One object on one slice: value `value` of layer `layer` of the slice's masks."""

    target: str
    label: int
    number: int
    layer: int
    value: int
    area_px: int
    box: tuple[int, int, int, int]


@dataclass
class StoredSlice:
    """One picture of the store with its mask layers (objects that overlap lie in different layers)."""

    index: int
    window: str
    pixels_HWC: np.ndarray
    layers: list[NDArray[np.uint16]] = field(default_factory=list)
    pairs: list[StoredPair] = field(default_factory=list)


@dataclass(frozen=True)
class CaseResult:
    """What became of a case; len(all pairs) + sum(excluded pairs) == pairs_read."""

    case: CaseFiles
    slices: tuple[StoredSlice, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    pairs_read: int = 0
    depth: int = 1
    spacing_mm: tuple[float, float, float] | None = None
    suspect_text: bool = False


def read_case(card: Card, case: CaseFiles, root: Path, *, bits: Bits = 8) -> CaseResult:
    """Make pairs of one case; what cannot be used comes back as excluded with its reason, never as an exception.

    Args:
        card: What the data set's files mean.
        case: The files.
        root: Folder that their paths are relative to.
        bits: 8, or 16 for uint16 pixels of finer steps by the same rule.
    """
    if case.excluded:
        return CaseResult(case, excluded=(Excluded(Reason.LISTED, case.excluded),))
    try:
        image = _read(card, case, root)
    except Fault as fault:
        return CaseResult(case, excluded=(describe_fault(fault, case, root),))
    found = Found()
    for file in case.masks:
        try:
            for mask in read_labels(file, card.masks, root, root / case.image, image.grid):
                collect(card, file.targets, image, mask, found)
        except Fault as fault:
            found.excluded.append(describe_fault(fault, case, root))
    if not case.masks or (not found.objects and not found.excluded):
        found.excluded.append(Excluded(Reason.EMPTY))
    try:
        slices = make_pictures(card, image, found, bits)
    except Fault as fault:
        return CaseResult(
            case,
            excluded=(*found.excluded, replace(describe_fault(fault, case, root), pairs=found.kept)),
            pairs_read=found.read,
        )
    suspect = image.modality in TEXT_MODALITIES and any(
        find_suspect_text(to_eight_bit(s.pixels_HWC)) for s in slices[:1]
    )
    return CaseResult(
        case, tuple(slices), tuple(found.excluded), found.read, image.grid.shape[0], image.grid.spacing_mm, suspect
    )


@dataclass
class Found:
    """Objects met so far, and what was left out."""

    objects: list[tuple[CardTarget, Objects]] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    read: int = 0
    kept: int = 0


def describe_fault(fault: Fault, case: CaseFiles, root: Path) -> Excluded:
    """The fault without the folder it happened in, which differs between machines."""
    detail = fault.detail.replace(f"{root}/", "").replace(str(root), "")
    return Excluded(fault.reason, detail, quotes=fault.quotes)


def _read(card: Card, case: CaseFiles, root: Path) -> Image:
    path = root / case.image
    try:
        if card.images.form == "raw-2048-be":
            image = read_raw(path, card.modality)
        elif path.suffix == ".npy":
            image = read_npy_image(path, card.modality)
        else:
            image = read_image(path, modality=card.modality, volume=card.images.channel)
    except MedsamError as error:
        raise Fault(Reason.UNREADABLE, error.got, quotes=True) from None
    if card.dimension == 2 and image.grid.shape[0] > 1:
        raise Fault(Reason.INCOMPLETE, f"it has {image.grid.shape[0]} slices, and the card says 2D")
    check_image(image)
    return image


def collect(card: Card, targets: tuple[CardTarget, ...], image: Image, mask: Mask, found: Found) -> None:
    """Divide one mask file into the objects of its targets."""
    axis = _axis(card, image)
    whole = np.moveaxis(mask.labels, axis, 0)
    crop = find_crop(whole != card.masks.background)
    if crop is None:
        return
    labels = np.ascontiguousarray(whole[crop])  # everything below costs as much as the target, not as the scan
    values = find_values(labels)
    check_mask(labels, np.moveaxis(image.values, axis, 0)[crop], values, card.masks.background)
    _note_unknown(card, targets, values, found)
    for target in targets:
        area = np.isin(labels, target.ids) if target.ids else labels != card.masks.background
        if not target.ids and card.ignore_ids:
            area &= ~np.isin(labels, card.ignore_ids)
        by_id = card.masks.kind == "instance"
        three_d = card.dimension == 3 and image.grid.shape[0] > 1  # a single slice is no tiny volume
        objects = find_objects(area, labels if by_id else None, whole=target.whole, three_d=three_d)
        if objects is None:
            continue
        objects = replace(objects, corner=_added(objects.corner, crop))
        _count(target, objects, found)
        if not target.branching and objects.areas_kept.any():
            found.objects.append((target, objects))


def _added(corner: tuple[int, int, int], crop: tuple[slice, slice, slice]) -> tuple[int, int, int]:
    return corner[0] + crop[0].start, corner[1] + crop[1].start, corner[2] + crop[2].start


def _note_unknown(card: Card, targets: tuple[CardTarget, ...], values: np.ndarray, found: Found) -> None:
    if any(not target.ids for target in targets):
        return
    known = {card.masks.background, *card.ignore_ids, *(i for target in card.targets for i in target.ids)}
    unknown = [int(value) for value in values if int(value) not in known]
    if unknown:
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        found.excluded.append(Excluded(Reason.UNKNOWN_LABEL, f"{len(unknown)} values ({shown})"))


def parse_unknown_ids(detail: str) -> list[int]:
    """The ids in the detail of what was left out as a label that is not on the card."""
    return [int(number) for number in re.findall(r"[0-9]+", detail.partition("(")[2])]


def _count(target: CardTarget, objects: Objects, found: Found) -> None:
    """Add the pairs of a target to those read and, for those that a rule removes, to the excluded."""
    read, kept = objects.areas_read > 0, objects.areas_kept > 0
    found.read += int(read.sum())
    if target.branching:
        found.excluded.append(Excluded(Reason.BRANCHING, target=target.name, pairs=int(read.sum())))
        return
    found.kept += int(kept.sum())
    lost = read & ~kept
    for reason, pairs in ((Reason.TINY_VOLUME, lost[:, objects.tiny]), (Reason.TINY_AREA, lost[:, ~objects.tiny])):
        if pairs.any():
            found.excluded.append(
                Excluded(reason, f"{int(pairs.any(axis=0).sum())} objects", target.name, int(pairs.sum()))
            )


def _axis(card: Card, image: Image) -> int:
    if card.plane == "stored" or image.grid.shape[0] == 1 or image.grid.spacing_mm is None:
        return 0
    return image.grid.find_axis(card.plane)


def make_pictures(card: Card, image: Image, found: Found, bits: Bits) -> list[StoredSlice]:
    """The pictures that carry a kept object, with their layers and pairs, by window and slice."""
    out: list[StoredSlice] = []
    axis = _axis(card, image)
    windows = sorted({target.window or card.window or "" for target, _ in found.objects})
    for window in windows:
        try:
            if bits == 16:
                values = np.moveaxis(normalize_16bit(image, window or None), axis, 0)
            else:
                values = np.moveaxis(normalize(image, window or None).values, axis, 0)
        except IntensityError as error:
            raise Fault(Reason.INCOMPLETE, error.got, quotes=True) from None
        chosen = [(n, t, o) for n, (t, o) in enumerate(found.objects) if (t.window or card.window or "") == window]
        for index in sorted(
            {int(z) + o.corner[0] for _, _, o in chosen for z in np.flatnonzero(o.areas_kept.any(axis=1))}
        ):
            picture = StoredSlice(index, window, _channels(values[index], card))
            for order, target, objects in chosen:
                _draw(picture, order, target, objects, index)
            out.append(picture)
    return out


def _channels(plane: np.ndarray, card: Card) -> NDArray[np.uint8]:
    """(H, W, C): three channels only where they differ and the modality has colour or the file really is coloured."""
    if plane.ndim == 2:
        return np.ascontiguousarray(plane[..., None])
    if INTENSITY_RULES[card.modality] is not IntensityRule.COLOR and _is_grey(plane):
        return np.ascontiguousarray(plane[..., :1])
    return np.ascontiguousarray(plane)


def _is_grey(plane: np.ndarray) -> bool:
    return all(np.array_equal(plane[..., 0], plane[..., channel]) for channel in range(1, plane.shape[2]))


def to_eight_bit(pixels: np.ndarray) -> NDArray[np.uint8]:
    """Pixels of a store in 8 bits: the same where they are, else v / 257, rounded."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _draw(picture: StoredSlice, order: int, target: CardTarget, objects: Objects, index: int) -> None:
    """Put a target's objects on this slice into the first layer that is free where they lie."""
    local = index - objects.corner[0]
    if not 0 <= local < len(objects.numbers):
        return
    numbers = objects.numbers[local]
    if not numbers.any():
        return
    y, x = objects.corner[1:]
    window = (slice(y, y + numbers.shape[0]), slice(x, x + numbers.shape[1]))
    where = numbers > 0
    free = (k for k, layer in enumerate(picture.layers) if not layer[window][where].any())
    layer = next(free, len(picture.layers))
    if layer == len(picture.layers):
        picture.layers.append(np.zeros(picture.pixels_HWC.shape[:2], dtype=np.uint16))
    value = int(picture.layers[layer].max())
    for number, spans in enumerate(ndimage.find_objects(numbers), start=1):
        if spans is None:
            continue
        value += 1
        piece = numbers[spans] == number
        picture.layers[layer][window][spans][piece] = value
        rows, columns = spans
        box = (x + columns.start, y + rows.start, x + columns.stop - 1, y + rows.stop - 1)
        label = target.ids[0] if target.ids else number
        picture.pairs.append(
            StoredPair(target.name, label, order * 100000 + number, layer, value, int(piece.sum()), box)
        )
