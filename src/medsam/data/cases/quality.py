"""What is left out of a store and why, and what is looked at with suspicion: each rule of the paper in one function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import fft, ndimage

from medsam.imaging.frame import resize
from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality

MIN_VOXELS = 1000  # released code, 3D, 26-connected; the paper says "tiny volumes" without a number
MIN_PIXELS = 100  # released code, 2D, 8-connected
MIN_SIDE = 16
HASHED_SIDE = 64  # of the copy that is hashed
HASH_SIDE = 16  # a perceptual hash of 16 x 16 bits


class Reason(StrEnum):
    """Why something is not in the store."""

    UNREADABLE = "unreadable image"
    INCOMPLETE = "incomplete image"
    NO_MASK = "no mask file"
    UNREADABLE_MASK = "unreadable mask"
    OTHER_GRID = "mask on another grid"
    MASK_IS_IMAGE = "mask is an image"
    EMPTY = "empty mask"
    UNKNOWN_LABEL = "label not on the card"
    LISTED = "on the card's exclusion list"
    BRANCHING = "branching target"
    TINY_VOLUME = "tiny volume"
    TINY_AREA = "tiny area"


# Reasons that are rules of the curation; the others are faults of files, which show in the exit code.
RULES = frozenset(
    {Reason.EMPTY, Reason.UNKNOWN_LABEL, Reason.LISTED, Reason.BRANCHING, Reason.TINY_VOLUME, Reason.TINY_AREA}
)
TEXT_MODALITIES = frozenset(
    {Modality.ULTRASOUND, Modality.XRAY, Modality.MAMMOGRAPHY, Modality.ENDOSCOPY, Modality.OCT, Modality.FUNDUS}
)


class Fault(Exception):
    """A case, or a mask of it, that cannot be used; lands in the report.

    Args:
        reason: Why.
        detail: More, for people.
        quotes: Whether the detail is a reader's text, which may name files: patients are often named in them.
    """

    def __init__(self, reason: Reason, detail: str, *, quotes: bool = False) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.quotes = reason, detail, quotes


@dataclass(frozen=True)
class Objects:
    """The objects of one target, before and after the size rules.

    Args:
        numbers: (D, H, W) int32, the object each voxel belongs to, 0 where none or too small; cropped to `corner`.
        corner: Index (z, y, x) of the crop's first voxel in the image.
        areas_read: (D', n + 1) pixels of each object in each slice of the crop before the size rules.
        areas_kept: The same after them.
        tiny: (n + 1,) bool, objects below the volume rule.
    """

    numbers: NDArray[np.int32]
    corner: tuple[int, int, int]
    areas_read: NDArray[np.int64]
    areas_kept: NDArray[np.int64]
    tiny: NDArray[np.bool_]


def check_image(image: Image) -> None:
    """Refuse images that are not whole.

    Raises:
        Fault: NaN or infinite values, one value throughout, or a side below 16 pixels.
    """
    values = image.values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Fault(Reason.INCOMPLETE, "it has values that are NaN or infinite")
    if min(image.grid.shape[1:]) < MIN_SIDE:
        raise Fault(Reason.INCOMPLETE, f"its slices are {image.grid.shape[1]} x {image.grid.shape[2]} pixels")
    first = values.reshape(-1)[0]
    if all((plane == first).all() for plane in values):
        raise Fault(Reason.INCOMPLETE, "all its values are the same")


def check_grid(mask: Grid, image: Grid, *, shape_only: bool) -> None:
    """Refuse a mask that does not lie on its image.

    Half a voxel is allowed, because many published masks went through another writer that rounds the header.

    Raises:
        Fault: another shape, or, where both files carry geometry, voxels more than half a voxel off.
    """
    if mask.shape != image.shape:
        raise Fault(Reason.OTHER_GRID, f"the mask has the shape {mask.shape}, the image {image.shape}")
    if shape_only or mask.spacing_mm is None or image.spacing_mm is None:
        return
    distance, allowed = mask.max_distance_mm(image), min(image.spacing_mm) / 2
    if distance > allowed:
        raise Fault(Reason.OTHER_GRID, f"the mask lies {distance:.3g} mm off the image (allowed {allowed:.3g})")


def find_values(labels: np.ndarray) -> np.ndarray:
    """Every value that occurs, sorted; bytes are counted, which is twenty times faster than sorting them."""
    if labels.dtype == np.uint8:
        return np.flatnonzero(np.bincount(labels.reshape(-1), minlength=256))
    return np.unique(labels)


def check_mask(labels: np.ndarray, image_values: np.ndarray, values: np.ndarray, background: int) -> None:
    """Refuse a mask that is a picture: equal to its image, or of many values that change from pixel to pixel.

    Args:
        labels: As read.
        image_values: Under them.
        values: What read_values(labels) gives.
        background: The value without a target.

    Raises:
        Fault: it is one.
    """
    if len(values) > 2 and np.array_equal(labels, image_values):
        raise Fault(Reason.MASK_IS_IMAGE, "its values are those of the image")
    if len(values) <= 32:
        return
    foreground = labels != background
    pairs = foreground[..., 1:] & foreground[..., :-1]
    count = int(pairs.sum())
    if count < 64:
        return
    changing = int(((labels[..., 1:] != labels[..., :-1]) & pairs).sum())
    if changing > count // 2:
        raise Fault(Reason.MASK_IS_IMAGE, f"{changing} of {count} neighbouring labels differ")


def find_objects(target_DHW: np.ndarray, ids_DHW: np.ndarray | None, *, whole: bool, three_d: bool) -> Objects | None:
    """Divide a target into objects and apply the size rules.

    Args:
        target_DHW: Bool, where the target is.
        ids_DHW: Object ids of an instance mask; None for a semantic one, whose objects are connected components.
        whole: One object for all pieces.
        three_d: Whether the volume rule (26-connected, 1000 voxels) applies before that on areas (8-connected, 100).

    Returns:
        None where the target is empty.
    """
    crop = find_crop(target_DHW)
    if crop is None:
        return None
    target = target_DHW[crop]
    numbers, count = _numbered(target, None if ids_DHW is None else ids_DHW[crop])
    volumes = np.bincount(numbers.reshape(-1), minlength=count + 1)
    small = (volumes < MIN_VOXELS) if three_d else np.zeros(count + 1, dtype=bool)
    small[0] = False
    areas_of = numbers
    if whole:
        areas_of, tiny = target.astype(np.int32), np.array([False, bool(small[1:].all())])
    else:
        tiny = small
    areas_read = _areas(areas_of, len(tiny))
    kept = np.where(small[numbers], 0, areas_of).astype(np.int32)
    for plane in kept:
        _drop_small_pieces(plane, by_id=ids_DHW is not None)
    corner = tuple(int(part.start) for part in crop)
    return Objects(kept, (corner[0], corner[1], corner[2]), areas_read, _areas(kept, len(tiny)), tiny)


def find_crop(target_DHW: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The smallest block that holds everything true; None where nothing is."""
    rest, spans = target_DHW, []
    for axis in range(3):  # each step looks only at what the step before left
        used = np.flatnonzero(rest.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(used):
            return None
        spans.append(slice(int(used[0]), int(used[-1]) + 1))
        rest = rest[(slice(None),) * axis + (spans[-1],)]
    return spans[0], spans[1], spans[2]


def _numbered(target: np.ndarray, ids: np.ndarray | None) -> tuple[NDArray[np.int32], int]:
    if ids is None:
        numbers, count = ndimage.label(target, structure=np.ones((3, 3, 3)), output=np.int32)
        return numbers, int(count)
    present = np.unique(ids[target])
    return np.where(target, np.searchsorted(present, ids) + 1, 0).astype(np.int32), len(present)


def _areas(numbers: np.ndarray, size: int) -> NDArray[np.int64]:
    """(D', size) pixels of each number in each slice; background counts as 0."""
    areas = np.stack([np.bincount(plane.reshape(-1), minlength=size) for plane in numbers])
    areas[:, 0] = 0
    return areas


def _drop_small_pieces(numbers_HW: NDArray[np.int32], *, by_id: bool) -> None:
    """Clear what is below the area rule, in place: pieces of a semantic target, whole objects of an instance mask."""
    pieces = numbers_HW if by_id else ndimage.label(numbers_HW > 0, structure=np.ones((3, 3)), output=np.int32)[0]
    small = np.bincount(pieces.reshape(-1)) < MIN_PIXELS
    small[0] = False
    if small.any():
        numbers_HW[small[pieces]] = 0


def compute_perceptual_hash(plane_HWC: NDArray[np.uint8]) -> bytes:
    """256 bits that change little when a picture is recompressed, rescaled or brightened.

    Which of the 16 x 16 lowest cosine coefficients of a 64 x 64 copy lie above their median.
    """
    small = resize(_reduced(plane_HWC), (HASHED_SIDE, HASHED_SIDE), "bilinear").mean(axis=2, dtype=np.float32)
    low = fft.dctn(small, norm="ortho")[:HASH_SIDE, :HASH_SIDE].reshape(-1)
    low[0] = 0.0
    return np.packbits(low > np.median(low)).tobytes()


def _reduced(plane_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Means of blocks, as large as still leave twice the side that is hashed."""
    factor = min(plane_HWC.shape[:2]) // (2 * HASHED_SIDE)
    if factor < 2:
        return plane_HWC
    small = np.asarray(Picture.fromarray(plane_HWC[..., 0] if plane_HWC.shape[2] == 1 else plane_HWC).reduce(factor))
    return small.reshape(*small.shape[:2], -1)


def find_suspect_text(plane_HWC: NDArray[np.uint8]) -> bool:
    """Whether a picture seems to carry burned-in text: at least five bright pieces of like height in a row."""
    grey = plane_HWC[..., 0]
    for channel in range(1, plane_HWC.shape[2]):  # a maximum along the last axis is ten times slower
        grey = np.maximum(grey, plane_HWC[..., channel])
    bright = grey >= max(int(grey.max()) * 0.8, 128)
    if bright.mean() > 0.5:
        return False
    pieces, count = ndimage.label(bright)
    if not count:
        return False
    glyphs = []
    for rows, columns in ndimage.find_objects(pieces):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if 6 <= height <= 40 and 1 <= width <= 2.5 * height:
            glyphs.append((rows.stop, height, columns.start, columns.stop))
    glyphs.sort(key=itemgetter(2))
    return any(_starts_line(place, glyphs) for place in range(len(glyphs) - 4))


def _starts_line(place: int, glyphs: list[tuple[int, int, int, int]]) -> bool:
    """Whether at least four glyphs follow on the same base line, each close to the one before; sorted by their left."""
    base, height, _, end = glyphs[place]
    length = 1
    for bottom, other, start, stop in islice(glyphs, place + 1, None):
        if start - end > 1.5 * height:
            return False
        if abs(bottom - base) <= 1 and abs(other - height) <= max(1, height // 4) and start > end:
            length, end = length + 1, stop
            if length == 5:
                return True
    return False
