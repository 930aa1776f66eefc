"""Image and box as the input of a specialist, and its answer back in slice pixels: the box is one more channel.

Shapes: N boxes, H rows and W columns of the slice, h rows and w columns of the network's input.
Source: paper, Methods, "Training protocol" (the bounding box as a binary mask beside the image).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from medsam.errors import PromptError
from medsam.imaging.boxes import validate_boxes
from medsam.imaging.frame import Interpolation, resize, resize_mask

IMAGE_CHANNELS = 3  # grey pictures have the same value in each
CHANNELS = IMAGE_CHANNELS + 1
Values = Literal["z-score", "unit"]


@dataclass(frozen=True)
class BoxChannelInput:
    """How a picture and a box become the input of a network.

    Args:
        size_hw: Rows and columns of the input, to which every picture is stretched.
        interpolation: Filter of the resize.
        values: "z-score" of each channel of each picture as nnU-Net, or "unit", which divides by 255.
    """

    size_hw: tuple[int, int]
    interpolation: Interpolation
    values: Values

    def image_to_network(self, slice_HW3: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Resize and scale a picture, (H, W, 3) uint8 to (3, h, w) float32."""
        pixels = resize(slice_HW3, self.size_hw, self.interpolation).transpose(2, 0, 1).astype(np.float32)
        if self.values == "unit":
            return np.ascontiguousarray(pixels / np.float32(255))
        mean = pixels.mean(axis=(1, 2), keepdims=True)
        deviation = pixels.std(axis=(1, 2), keepdims=True)
        return np.ascontiguousarray((pixels - mean) / np.maximum(deviation, np.float32(1e-8)))

    def boxes_to_network(self, boxes_N4: np.ndarray, height: int, width: int) -> NDArray[np.float32]:
        """Draw boxes of a slice of height x width pixels as channels, (N, h, w) float32, 0 or 1."""
        return fill_boxes(boxes_N4, height, width, self.size_hw).astype(np.float32)

    def mask_to_network(self, mask_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Resize the mask of an expert by nearest neighbour, (h, w) float32, 0 or 1."""
        return resize_mask(mask_HW.astype(np.uint8), self.size_hw).astype(np.float32)

    def logits_to_masks(self, logits_N1hw: Tensor, height: int, width: int) -> NDArray[np.bool_]:
        """Interpolate probabilities to the slice, (N, H, W) bool where they are above one half."""
        probability = F.interpolate(torch.sigmoid(logits_N1hw.float()), (height, width), mode="bilinear")
        masks_NHW: NDArray[np.bool_] = (probability[:, 0] > 0.5).cpu().numpy()
        return masks_NHW


def take_boxes(boxes: NDArray[np.float64] | None, points: object, point_labels: object) -> NDArray[np.float64]:
    """Take the boxes of a prompt, as they are: specialists were shown nothing else.

    Raises:
        PromptError: clicks, or no box.
    """
    if boxes is None or points is not None or point_labels is not None:
        raise PromptError(
            "a prompt that is no box", expected="boxes alone", fix="ask a promptable model, or draw a box"
        )
    return boxes


def fill_boxes(
    boxes_N4: np.ndarray, height: int, width: int, size_hw: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """Draw boxes as masks: a pixel is inside where its centre lies within half a slice pixel of the box.

    The box that is made from a mask so covers all pixels of the mask; one that is smaller than a pixel of the network
    covers the nearest one.

    Args:
        boxes_N4: x0 y0 x1 y1 in slice pixels.
        height: H of the slice.
        width: W of the slice.
        size_hw: Rows and columns of the masks; the slice's own without it.

    Returns:
        (N, rows, columns) bool.

    Raises:
        PromptError: boxes that are none, or leave the slice.
    """
    boxes = validate_boxes(boxes_N4, height, width)
    rows, columns = size_hw or (height, width)
    across_NW = _cover(boxes[:, 0], boxes[:, 2], (np.arange(columns) + 0.5) * width / columns - 0.5)
    down_NH = _cover(boxes[:, 1], boxes[:, 3], (np.arange(rows) + 0.5) * height / rows - 0.5)
    filled: NDArray[np.bool_] = down_NH[:, :, None] & across_NW[:, None, :]
    return filled


def _cover(low_N: np.ndarray, high_N: np.ndarray, centres: np.ndarray) -> NDArray[np.bool_]:
    inside = (centres >= low_N[:, None] - 0.5) & (centres <= high_N[:, None] + 0.5)
    nearest = np.abs(centres - ((low_N + high_N) / 2)[:, None]).argmin(axis=1)
    inside[np.arange(len(inside)), nearest] = True
    covered: NDArray[np.bool_] = inside
    return covered
