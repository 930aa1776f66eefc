"""The box itself as the answer: what every comparator that takes a box has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medsam.baselines.box_channel import fill_boxes, take_boxes


class FilledBox:
    """Answers a box with all pixels inside it; its picture's shape is its embedding."""

    def embed(self, slice_rgb: NDArray[np.uint8], /) -> tuple[int, int]:
        """Give rows and columns of a picture, (H, W, 3) uint8."""
        height, width = slice_rgb.shape[:2]
        return height, width

    def decode(
        self,
        embedding: tuple[int, int],
        /,
        *,
        boxes: NDArray[np.float64] | None = None,
        points: Sequence[Sequence[tuple[float, float]]] | None = None,
        point_labels: Sequence[Sequence[int]] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Answer N boxes, in slice pixels: masks (N, H, W) bool, and N scores that are NaN.

        Raises:
            PromptError: clicks, no box, or one that leaves the slice.
        """
        boxes_N4 = take_boxes(boxes, points, point_labels)
        masks_NHW = fill_boxes(boxes_N4, *embedding)
        return masks_NHW, np.full(len(masks_NHW), np.nan, dtype=np.float32)
