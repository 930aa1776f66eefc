"""Raw values to the uint8 [0, 255] that every model takes: one function, used by training, serving and the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from medsam.errors import IntensityError
from medsam.imaging.image import Image
from medsam.imaging.modality import RULES, IntensityRule, Window, parse_window

PERCENTILES = (0.5, 99.5)  # paper, Methods, Dataset curation
Preset = Literal["paper", "released"]
Depth = TypeVar("Depth", np.uint8, np.uint16)


def normalize(
    image: Image, window: str | Window | tuple[float, float] | None = None, *, preset: Preset = "paper"
) -> Image:
    """Bring intensities to uint8 [0, 255] by the rule of the image's modality; geometry is kept.

    Args:
        image: As read; values in the modality's unit.
        window: CT only: a name, (width, level) or "width,level" in HU. Without it the file's own window is taken.
        preset: "paper", or "released" for what the published scripts do: CT rescaled by the extremes of the clipped
            scan, percentiles over positive voxels with zeros kept, truncation instead of rounding.

    Returns:
        An Image with uint8 values of the same shape and `normalized` set.

    Raises:
        IntensityError: NaN or infinite values, CT without any window, unknown modality of a non-uint8 image, a window
            for another modality than CT, or an image that is normalized already.

    Source: paper, Methods, "Dataset curation and pre-processing".
    """
    chosen = parse_window(window) if window is not None else None
    if image.normalized:
        if chosen is None:
            return image
        raise IntensityError(
            "a window for an image that is normalized already",
            expected="the raw image",
            fix="read the file again and normalize once",
        )
    _refuse_non_finite(image.values)
    low, high = _bounds(image, chosen, preset)
    if (low, high) == (0.0, 255.0) and image.values.dtype == np.uint8:
        return replace(image, normalized=True)
    values = _rescale(image.values, low, high, preset, keep_zeros=_rule(image, chosen) is IntensityRule.PERCENTILE)
    return replace(image, values=values, normalized=True)


def normalize_16bit(image: Image, window: str | Window | tuple[float, float] | None = None) -> NDArray[np.uint16]:
    """The same rule in 65,535 steps, for stores that keep more than 8 bits; v / 257, rounded, is what normalize gives.

    Raises:
        IntensityError: as normalize.
    """
    chosen = parse_window(window) if window is not None else None
    _refuse_non_finite(image.values)
    low, high = _bounds(image, chosen, "paper")
    return _rescale(image.values, low, high, "paper", keep_zeros=False, dtype=np.uint16)


def find_rule(image: Image) -> IntensityRule | None:
    """The intensity rule normalize would follow; None where the modality is unknown and the values are not uint8."""
    if image.modality is None:
        return IntensityRule.COLOR if image.values.dtype == np.uint8 or image.is_rgb else None
    return RULES[image.modality]


def find_intensity_bounds(image: Image, window: str | Window | None = None) -> tuple[IntensityRule, float, float]:
    """The rule normalize follows for this image, and the raw values it turns into 0 and 255.

    Raises:
        IntensityError: as normalize.
    """
    chosen = parse_window(window) if window is not None else None
    _refuse_non_finite(image.values)
    return _rule(image, chosen), *_bounds(image, chosen, "paper")


def _rule(image: Image, window: Window | None) -> IntensityRule:
    rule = find_rule(image)
    if window is not None and image.is_rgb:
        raise IntensityError("a window for a colour image", expected="a CT image", fix="leave the window out")
    if window is not None and rule in (None, IntensityRule.WINDOW):
        return IntensityRule.WINDOW
    if window is not None and image.modality is not None:
        raise IntensityError(
            f"a window for a {image.modality} image",
            expected="a CT image",
            fix="leave the window out, or pass --modality CT if it is one",
        )
    if rule is None:
        raise IntensityError(
            f"the modality is unknown and the values are {image.values.dtype}",
            expected="a modality, which says how to normalize",
            fix="pass --modality CT, MR, ultrasound, ... (and --window for CT)",
        )
    return rule if window is None else IntensityRule.WINDOW


def _bounds(image: Image, window: Window | None, preset: Preset) -> tuple[float, float]:
    """The raw values that become 0 and 255."""
    rule = _rule(image, window)
    if rule is IntensityRule.WINDOW:
        return _window_bounds(image, window or image.window, preset)
    if rule is IntensityRule.PERCENTILE:
        return _percentile_bounds(image.values, preset)
    low, high = float(image.values.min()), float(image.values.max())
    return (0.0, 255.0) if image.values.dtype == np.uint8 or (low >= 0 and 1 < high <= 255) else (low, high)


def _window_bounds(image: Image, window: Window | None, preset: Preset) -> tuple[float, float]:
    if window is None:
        if image.values.dtype == np.uint8:
            return 0.0, 255.0  # a CT slice saved as an 8-bit picture was windowed when it was saved
        raise IntensityError(
            "a CT without a window",
            expected="a window, which the file does not carry",
            fix="pass --window soft-tissue, lung, brain, bone, ... or --window width,level",
        )
    low, high = window.bounds
    if preset == "released":
        return max(low, float(image.values.min())), min(high, float(image.values.max()))
    return low, high


def _percentile_bounds(values: np.ndarray, preset: Preset) -> tuple[float, float]:
    pool = values[values > 0] if preset == "released" and (values > 0).any() else values
    low, high = _percentiles(pool.reshape(-1))
    return low, high


def _percentiles(flat: np.ndarray) -> tuple[float, float]:
    """The two percentiles; 8- and 16-bit values are counted instead of sorted, which is exact and needs no copy."""
    flat = flat.view(np.uint8) if flat.dtype == bool else flat
    if flat.dtype.kind not in "ui" or flat.dtype.itemsize > 2:
        low, high = np.percentile(flat, PERCENTILES)
        return float(low), float(high)
    offset = int(flat.min())
    counts = np.zeros(int(flat.max()) - offset + 1, dtype=np.int64)
    for start in range(0, flat.size, 1 << 22):
        counts += np.bincount(flat[start : start + (1 << 22)].astype(np.int32) - offset, minlength=counts.size)
    ranks = np.cumsum(counts)

    def at(percent: float) -> float:
        position = percent / 100 * (flat.size - 1)
        below, above = (
            int(np.searchsorted(ranks, rank, side="right")) for rank in (np.floor(position), np.ceil(position))
        )
        return float(offset + below + (above - below) * (position - np.floor(position)))

    return at(PERCENTILES[0]), at(PERCENTILES[1])


def _rescale(
    values: np.ndarray,
    low: float,
    high: float,
    preset: Preset,
    *,
    keep_zeros: bool,
    dtype: type[Depth] = np.uint8,  # type: ignore[assignment]
) -> NDArray[Depth]:
    """Clip to [low, high] and stretch to the dtype's range, a slice at a time so that no float copy of a volume is made."""
    out = np.zeros(values.shape, dtype=dtype)
    top = float(np.iinfo(dtype).max)
    if not high > low:
        return out  # a constant image carries no contrast
    to_integer: Callable[[np.ndarray], np.ndarray] = np.rint if preset == "paper" else np.trunc
    real = np.float64 if max(abs(low), abs(high)) > 1e4 * (high - low) else np.float32  # far from zero, close together
    floor = real(low)
    span = real(high) - floor
    for plane, target in zip(values, out, strict=True):
        stretched = (np.clip(plane, low, high, dtype=real) - floor) / span * top  # the highest value gives top exactly
        target[...] = to_integer(np.clip(stretched, 0, top))
        if preset == "released" and keep_zeros:
            target[plane == 0] = 0
    return out


def _refuse_non_finite(values: np.ndarray) -> None:
    if values.dtype.kind != "f":
        return
    for index, plane in enumerate(values):
        bad = int(plane.size - np.count_nonzero(np.isfinite(plane)))
        if bad:
            raise IntensityError(
                f"{bad} pixels of slice {index} are NaN or infinite",
                expected="finite values",
                fix="repair the file, or fill them with its background value",
            )
