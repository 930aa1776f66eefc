"""Where a reader would click on a target: the point deepest inside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import PromptError


def find_innermost_point(mask_HW: np.ndarray) -> NDArray[np.float64]:
    """The foreground pixel farthest from the background, (2,) float64 x y in slice pixels.

    The outside of the slice is background. Of several such pixels the first, row by row, so that the same mask gives
    the same click.

    Raises:
        PromptError: the mask is empty.
    """
    if not mask_HW.any():
        raise PromptError("the mask is empty", expected="foreground to click on", fix="skip this slice")
    depths = ndimage.distance_transform_edt(np.pad(mask_HW.astype(bool), 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depths)), depths.shape)
    return np.array([x, y], dtype=np.float64)
