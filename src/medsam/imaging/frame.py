"""Between a slice and the square frame a model sees: image and prompts in, and where the logits belong on the way out.

Shape legend: H rows, W columns of the slice; S side of the model frame; N prompts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medsam.errors import IntensityError

Fit = Literal["squash", "pad"]
Interpolation = Literal["bicubic", "bilinear", "area"]
Scaling = Literal["min-max", "unit", "mean-std"]
Upsample = Literal["logits", "probabilities", "frame"]

# SAM's channel means and deviations (those of ImageNet, in grey levels).
MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


@dataclass(frozen=True)
class Frame:
    """How one slice was laid into a model's square frame; travels inside the Embedding, so decode needs nothing else.

    Args:
        height: H of the slice in pixels.
        width: W of the slice in pixels.
        size: S, side of the model frame in pixels.
        fit: "squash" stretches both sides to S (MedSAM); "pad" brings the longer side to S and pads bottom and right
            with 0 (SAM, LiteMedSAM).
        interpolation: Filter of the resize.
        scaling: "min-max" of the slice to [0, 1] (MedSAM), "unit" divides by 255, "mean-std" as SAM.
    """

    height: int
    width: int
    size: int
    fit: Fit = "squash"
    interpolation: Interpolation = "bicubic"
    scaling: Scaling = "min-max"

    @property
    def inner_hw(self) -> tuple[int, int]:
        """Rows and columns of the frame that the slice fills; the rest is padding."""
        if self.fit == "squash":
            return self.size, self.size
        scale = self.size / max(self.height, self.width)
        return max(1, int(self.height * scale + 0.5)), max(1, int(self.width * scale + 0.5))

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Model pixels per slice pixel along x and y."""
        if self.fit == "squash":
            return self.size / self.width, self.size / self.height
        scale = self.size / max(self.height, self.width)
        return scale, scale

    def image_to_model(self, slice_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize, scale and pad a slice.

        Args:
            slice_HW3: (H, W, 3) uint8 in [0, 255].

        Returns:
            (3, S, S) float32, contiguous: what the image encoder takes.

        Raises:
            IntensityError: not uint8 (H, W, 3) of this frame's size.

        Source: paper, Methods, "Dataset curation and pre-processing"; compatibility notes on LiteMedSAM and SAM.
        """
        if slice_HW3.dtype != np.uint8 or slice_HW3.shape != (self.height, self.width, 3):
            raise IntensityError(
                f"a slice of shape {slice_HW3.shape} and dtype {slice_HW3.dtype}",
                expected=f"uint8 of shape {(self.height, self.width, 3)}",
                fix="call medsam.normalize, then image.slice_rgb(k)",
            )
        source = slice_HW3[..., :1] if is_grey(slice_HW3) else slice_HW3
        inner = _scaled(resize(source, self.inner_hw, self.interpolation), self.scaling)
        model = np.zeros((3, self.size, self.size), dtype=np.float32)
        rows, columns = self.inner_hw
        model[:, :rows, :columns] = inner.transpose(2, 0, 1)
        return model

    def boxes_to_model(self, boxes_N4: np.ndarray) -> NDArray[np.float32]:
        """Move (N, 4) boxes x0 y0 x1 y1 from slice pixels to model pixels; x and y scale apart when squashed."""
        return (np.asarray(boxes_N4, dtype=np.float64) * (self.scale_xy * 2)).astype(np.float32)

    def points_to_model(self, points_P2: np.ndarray) -> NDArray[np.float32]:
        """Move (P, 2) or (N, P, 2) points x y from slice pixels to model pixels."""
        return (np.asarray(points_P2, dtype=np.float64) * self.scale_xy).astype(np.float32)

    def mask_to_model(self, mask_HW: np.ndarray) -> NDArray[np.uint8]:
        """Lay a label map of the slice into the frame by nearest neighbour, (S, S) uint8; padding is background."""
        model = np.zeros((self.size, self.size), dtype=np.uint8)
        rows, columns = self.inner_hw
        model[:rows, :columns] = resize_mask(mask_HW, (rows, columns))
        return model


def resize_mask(mask_HW: np.ndarray, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a label map to (rows, columns) by nearest neighbour, uint8."""
    picture = Picture.fromarray(np.ascontiguousarray(mask_HW, dtype=np.uint8))
    return np.asarray(picture.resize((size_hw[1], size_hw[0]), Picture.Resampling.NEAREST))


def is_grey(slice_HW3: NDArray[np.uint8]) -> bool:
    """Whether all channels of a slice are the same."""
    return bool((slice_HW3[..., :1] == slice_HW3[..., 1:]).all())


def resize(image_HWC: NDArray[np.uint8], size_hw: tuple[int, int], interpolation: Interpolation) -> NDArray[np.uint8]:
    """Resize a uint8 picture to (rows, columns), with the filter widened when it shrinks so that nothing aliases.

    Args:
        image_HWC: (H, W, C) uint8, C is 1 or 3.
        size_hw: Rows and columns wanted.
        interpolation: "bicubic" and "bilinear" are Pillow's; "area" averages the pixels each new pixel covers.
    """
    if image_HWC.shape[:2] == tuple(size_hw):
        return image_HWC
    if interpolation == "area":
        return _resize_area(image_HWC, size_hw)
    method = Picture.Resampling.BICUBIC if interpolation == "bicubic" else Picture.Resampling.BILINEAR
    picture = Picture.fromarray(np.ascontiguousarray(image_HWC[..., 0] if image_HWC.shape[2] == 1 else image_HWC))
    resized = np.asarray(picture.resize((size_hw[1], size_hw[0]), method))
    return resized.reshape(*size_hw, image_HWC.shape[2])


def _resize_area(image_HWC: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    height, width, channels = image_HWC.shape
    if size_hw[0] > height or size_hw[1] > width:
        return _enlarge_area(image_HWC, size_hw)
    rows, columns = _area_weights(height, size_hw[0]), _area_weights(width, size_hw[1])
    tall = (rows @ image_HWC.reshape(height, width * channels).astype(np.float32)).reshape(size_hw[0], width, channels)
    wide = np.einsum("ow,hwc->hoc", columns, tall, optimize=True)
    halved = (height, width) == (2 * size_hw[0], 2 * size_hw[1])
    resized: NDArray[np.uint8] = (np.floor(wide + 0.5) if halved else np.rint(wide)).astype(np.uint8)  # as published
    return resized


@lru_cache(maxsize=64)
def _area_weights(size: int, new_size: int) -> NDArray[np.float32]:
    """(new_size, size) weights of a resize that shrinks: the share of each old pixel in each new one; rows sum to 1."""
    weights = np.zeros((new_size, size), dtype=np.float64)
    step = size / new_size
    for new in range(new_size):
        start, stop = new * step, (new + 1) * step
        for old in range(int(start), min(int(np.ceil(stop)), size)):
            weights[new, old] = max(0.0, min(stop, old + 1) - max(start, old))
        weights[new] /= weights[new].sum()
    return weights.astype(np.float32)


def _enlarge_area(image_HWC: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The area filter where a side grows: a blend of the two old pixels a new one overlaps, on both axes.

    In the fixed-point steps of the published pre-processing, so that no pixel differs from it by a grey level.
    """
    left, right, share = _overlapped(image_HWC.shape[1], size_hw[1])
    upper, lower, part = _overlapped(image_HWC.shape[0], size_hw[0])
    image = image_HWC.astype(np.int32)
    wide = image[:, left] * (2048 - share)[:, None] + image[:, right] * share[:, None]  # (H, columns, C), times 2048
    blend = [
        (one >> 4) * weight[:, None, None] >> 16 for one, weight in ((wide[upper], 2048 - part), (wide[lower], part))
    ]
    enlarged: NDArray[np.uint8] = np.clip((blend[0] + blend[1] + 2) >> 2, 0, 255).astype(np.uint8)
    return enlarged


def _overlapped(size: int, new_size: int) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """For each new pixel the two old ones it overlaps and the second one's share in 1/2048."""
    scale = new_size / size
    new = np.arange(new_size)
    first = np.floor(new * (1 / scale))
    share = ((new + 1) - (first + 1) * scale).astype(np.float32)
    share = np.where(share <= 0, np.float32(0), share - np.floor(share))
    first = np.minimum(first, size - 1).astype(np.int32)
    return first, np.minimum(first + 1, size - 1), np.rint(share * 2048).astype(np.int32)


def _scaled(image_HWC: NDArray[np.uint8], scaling: Scaling) -> NDArray[np.float32]:
    values = image_HWC.astype(np.float32)
    if scaling == "unit":
        return values / np.float32(255)
    if scaling == "mean-std":
        return (values - MEAN) / STD
    low, high = float(values.min()), float(values.max())
    return (values - np.float32(low)) / np.float32(max(high - low, 1e-8))
