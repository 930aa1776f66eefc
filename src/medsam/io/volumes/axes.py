"""What readers of volumes share: one volume of several, and colours as three channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medsam.errors import InputFileError


def choose_volume(volumes: np.ndarray, index: int | None, path: Path) -> np.ndarray:
    """Take one of (N, ...) volumes.

    Args:
        volumes: As stored, the volume first.
        index: Which one; None where there must be only one.
        path: For the message.

    Raises:
        InputFileError: several and none chosen, or one that is not there.
    """
    count = len(volumes)
    if index is None and count > 1:
        raise InputFileError(
            f"{path} holds {count} volumes",
            expected="one",
            fix=f"choose one from 0 to {count - 1} with volume= (--volume), or split the file",
        )
    if not 0 <= (index or 0) < count:
        raise InputFileError(
            f"{path} holds no volume {index}", expected=f"0 to {count - 1}", fix="choose one that is there"
        )
    chosen: np.ndarray = volumes[index or 0]
    return chosen


def order_colours(values: np.ndarray, path: Path) -> np.ndarray:
    """(D, H, W) as it is; (D, H, W, 3) and, less its alpha, (D, H, W, 4) as colours.

    Raises:
        InputFileError: another number of channels.
    """
    if values.ndim == 3:
        return np.ascontiguousarray(values)
    if values.shape[-1] not in (3, 4):
        raise InputFileError(
            f"{path} holds {values.shape[-1]} values per voxel",
            expected="one, or RGB",
            fix="save the one you mean as its own file",
        )
    return np.ascontiguousarray(values[..., :3])
