"""Other pictures of the same targets: flips, turns, crops, grey values, noise, colour and JPEG, on a slice and its masks.

Shapes: H rows, W columns of the slice, T targets. Everything happens in slice pixels, before the model frame, so that
boxes and clicks are simulated on what the model will see.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageFilter

from medsam.imaging.boxes import box_from_mask
from medsam.imaging.frame import is_grey
from medsam.training.config import Augmentation
from medsam.training.samples.sources import TrainingSlice

Matrix = tuple[float, float, float, float, float, float]
AFFINE, NEAREST, BILINEAR = Picture.Transform.AFFINE, Picture.Resampling.NEAREST, Picture.Resampling.BILINEAR
KEPT = 0.5  # of a target's pixels must stay in the picture, or it is left out
CROP_TIGHTEST = 1.5
SMALLEST_CROP = 48  # pixels, a side: what is smaller shows too little around the target


@dataclass(frozen=True)
class Strength:
    """The most of each change; every sample draws its own amounts.

    Args:
        turn_degrees: Rotation to either side.
        zoom: The picture grows or shrinks by up to 1 + zoom; where it grows it is cropped.
        shift: Of the picture, as a share of its sides.
        contrast: Grey values spread or shrink around the middle by up to 1 + contrast.
        brightness: Added to grey values, as a share of 255.
        gamma: Exponents from 1 / (1 + gamma) to 1 + gamma.
        blur_px: Deviation of a Gaussian, in slice pixels.
        noise: Deviation of Gaussian noise, in grey levels.
        colour: Saturation and the gain of each channel change by up to 1 + colour, in pictures that have colours.
        chance: Of every change but flips and quarter turns, all eight of which are as likely.
        jpeg: Worst quality of a JPEG, 1 to 100; the best is 95. 0 is none.
        crop: Chance of a crop around one target.
        crop_widest: Longest side of a crop, in longer sides of that target's box; the shortest is CROP_TIGHTEST of them.
    """

    turn_degrees: float
    zoom: float
    shift: float
    contrast: float
    brightness: float
    gamma: float
    blur_px: float
    noise: float
    colour: float
    chance: float
    jpeg: int = 0
    crop: float = 0.0
    crop_widest: float = 5.0


STRENGTHS: dict[Augmentation, Strength] = {
    "light": Strength(
        turn_degrees=10, zoom=0.1, shift=0.05, contrast=0.1, brightness=0.05, gamma=0.15, blur_px=0.7, noise=4,
        colour=0.05, chance=0.3, jpeg=70, crop=0.1,
    ),
    "strong": Strength(
        turn_degrees=25, zoom=0.3, shift=0.1, contrast=0.3, brightness=0.15, gamma=0.5, blur_px=1.5, noise=12,
        colour=0.2, chance=0.5, jpeg=30, crop=0.3,
    ),
}  # fmt: skip


def augment(slice_: TrainingSlice, strength: Strength, rng: np.random.Generator) -> TrainingSlice:
    """Change a picture and its masks alike; a grey picture stays grey.

    Args:
        slice_: With the targets that will be asked for.
        strength: How much.
        rng: Where all choices come from.

    Returns:
        The picture or a crop of it, and at least one of its targets; none of which more than half is cut off.
    """
    pixels, masks = turn(slice_.pixels_HW3, slice_.masks, int(rng.integers(8)))
    if rng.random() < strength.crop:
        pixels, masks = _cropped(pixels, masks, strength, rng)
    if rng.random() < strength.chance:
        pixels, masks = _moved(pixels, masks, strength, rng)
    grey = is_grey(pixels)
    if rng.random() < strength.chance:
        pixels = _curve(strength, rng)[pixels]
    if not grey and rng.random() < strength.chance:
        pixels = _coloured(pixels, strength, rng)
    if rng.random() < strength.chance:
        blur = ImageFilter.GaussianBlur(rng.uniform(0, strength.blur_px))
        pixels = np.asarray(Picture.fromarray(pixels).filter(blur))
    if rng.random() < strength.chance:
        pixels = _noisy(pixels, rng.uniform(0, strength.noise), rng, channels=1 if grey else 3)
    if strength.jpeg and rng.random() < strength.chance:
        pixels = _as_jpeg(pixels, int(rng.integers(strength.jpeg, 96)), grey=grey)
    return TrainingSlice(pixels, masks)


def turn(
    pixels_HW3: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], way: int
) -> tuple[NDArray[np.uint8], Sequence[NDArray[np.bool_]]]:
    """One of the eight ways to lay a picture: way % 4 quarter turns to the left, mirrored first from way 4 on."""

    def laid(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(array[:, ::-1] if way >= 4 else array, way % 4))

    return laid(pixels_HW3), [laid(mask) for mask in masks]


def _moved(
    pixels_HW3: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], strength: Strength, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Sequence[NDArray[np.bool_]]]:
    """Turned, zoomed and shifted at random, without targets cut by half or more; as before where none would be left."""
    height, width = pixels_HW3.shape[:2]
    zoom = _factor(strength.zoom, rng)
    shift_xy = rng.uniform(-strength.shift, strength.shift, 2) * (width, height)
    degrees = rng.uniform(-strength.turn_degrees, strength.turn_degrees)
    matrix = make_backward_matrix(
        height, width, zoom=zoom, degrees=degrees, shift_xy=(float(shift_xy[0]), float(shift_xy[1]))
    )
    moved = _seen(masks, [warp_mask(mask, matrix) for mask in masks], zoom**2)
    return (warp(pixels_HW3, matrix), moved) if moved else (pixels_HW3, masks)


def _seen(
    before: Sequence[NDArray[np.bool_]], after: Sequence[NDArray[np.bool_]], grown: float
) -> list[NDArray[np.bool_]]:
    """The targets that keep KEPT of their pixels, which are grown times as many."""
    pairs = zip(before, after, strict=True)
    return [new for old, new in pairs if np.count_nonzero(new) >= max(1.0, KEPT * grown * np.count_nonzero(old))]


def _cropped(
    pixels_HW3: NDArray[np.uint8], masks: Sequence[NDArray[np.bool_]], strength: Strength, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Sequence[NDArray[np.bool_]]]:
    """A square around the whole box of one target, anywhere that holds it; of the others those that are seen."""
    height, width = pixels_HW3.shape[:2]
    x0, y0, x1, y1 = (int(v) for v in box_from_mask(masks[int(rng.integers(len(masks)))]))
    longer = max(x1 - x0, y1 - y0)
    times = np.exp(rng.uniform(np.log(CROP_TIGHTEST), np.log(strength.crop_widest)))
    side = max(SMALLEST_CROP, round(longer * float(times)))
    left, right = _interval(x0, x1, side, width, rng)
    top, bottom = _interval(y0, y1, side, height, rng)
    cut = [np.ascontiguousarray(mask[top:bottom, left:right]) for mask in masks]
    return np.ascontiguousarray(pixels_HW3[top:bottom, left:right]), _seen(masks, cut, 1.0)


def _interval(low: int, high: int, length: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """One of at most this length that holds low to high, both inclusive, and lies in 0 to size."""
    length = min(length, size)
    first, last = max(0, min(high + 1, size) - length), min(low, size - length)
    start = int(rng.integers(first, max(first, last) + 1))
    return start, min(size, start + length)


def make_backward_matrix(
    height: int, width: int, *, zoom: float, degrees: float, shift_xy: tuple[float, float]
) -> Matrix:
    """Where each place of the moved picture comes from, as Pillow wants it: x = a X + b Y + c, y = d X + e Y + f.

    The picture turns to the left by degrees and grows by zoom around its centre, and then moves by shift_xy pixels.
    """
    angle = np.deg2rad(degrees)
    a, b = np.cos(angle) / zoom, -np.sin(angle) / zoom
    d, e = np.sin(angle) / zoom, np.cos(angle) / zoom
    x, y = width / 2 + shift_xy[0], height / 2 + shift_xy[1]
    return float(a), float(b), float(width / 2 - a * x - b * y), float(d), float(e), float(height / 2 - d * x - e * y)


def warp_mask(mask_HW: NDArray[np.bool_], matrix: Matrix) -> NDArray[np.bool_]:
    """A mask moved by nearest neighbour; outside of it is background."""
    picture = Picture.fromarray(mask_HW.astype(np.uint8))
    moved: NDArray[np.bool_] = np.asarray(picture.transform(picture.size, AFFINE, matrix, NEAREST)) > 0
    return moved


def warp(pixels_HW3: NDArray[np.uint8], matrix: Matrix) -> NDArray[np.uint8]:
    """A picture moved bilinearly; outside of it is its darkest value, so that the range of values stays."""
    picture = Picture.fromarray(pixels_HW3)
    darkest = (int(pixels_HW3.min()),) * 3
    return np.asarray(picture.transform(picture.size, AFFINE, matrix, BILINEAR, fillcolor=darkest))


def _factor(most: float, rng: np.random.Generator) -> float:
    """Between 1 / (1 + most) and 1 + most, as often above 1 as below."""
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(most)))


def _curve(strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The new grey level of each of the 256."""
    gamma, contrast = _factor(strength.gamma, rng), _factor(strength.contrast, rng)
    level = (np.arange(256) / 255) ** gamma
    level = (level - 0.5) * contrast + 0.5 + rng.uniform(-strength.brightness, strength.brightness)
    return _levels(level * 255)


def _coloured(pixels_HW3: NDArray[np.uint8], strength: Strength, rng: np.random.Generator) -> NDArray[np.uint8]:
    gains = np.array([_factor(strength.colour, rng) for _ in range(3)], dtype=np.float32)
    values = pixels_HW3.astype(np.float32)
    middle = values.mean(axis=2, keepdims=True)
    values = (middle + (values - middle) * np.float32(_factor(strength.colour, rng))) * gains
    return _levels(values)


def _noisy(
    pixels_HW3: NDArray[np.uint8], deviation: float, rng: np.random.Generator, *, channels: int
) -> NDArray[np.uint8]:
    noise = rng.standard_normal((*pixels_HW3.shape[:2], channels), dtype=np.float32) * np.float32(deviation)
    return _levels(pixels_HW3 + noise)


def _as_jpeg(pixels_HW3: NDArray[np.uint8], quality: int, *, grey: bool) -> NDArray[np.uint8]:
    """What is left of a picture that was stored as JPEG."""
    held = io.BytesIO()
    Picture.fromarray(pixels_HW3[..., 0] if grey else pixels_HW3).save(held, "JPEG", quality=quality)
    return np.asarray(Picture.open(held).convert("RGB"))


def _levels(values: np.ndarray) -> NDArray[np.uint8]:
    rounded: NDArray[np.uint8] = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded
