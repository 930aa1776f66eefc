"""TensorBoard beside metrics.jsonl, by switch: the same numbers and pictures in event files."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import MissingDependencyError

FOLDER = "tensorboard"
NO_CURVES = ("step", "targets_by_modality", "targets_by_dataset")


def require_tensorboard() -> None:
    """Refuse to begin a run that could not write what was asked for.

    Raises:
        MissingDependencyError: TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingDependencyError(
            "the recipe says tensorboard = true and TensorBoard is not installed",
            expected="tensorboard 2.18 or newer",
            fix='run: pip install "openmedsam[tracking]"',
        )


class Board:
    """Event files of a run in its folder `tensorboard`.

    Args:
        run: Folder of the run.
        step: Steps done already; what a killed run wrote beyond them is hidden, since it will come again.
    """

    def __init__(self, run: Path, *, step: int) -> None:
        require_tensorboard()
        from torch.utils.tensorboard import SummaryWriter

        begun = (run / FOLDER).is_dir()  # before step 0 too there is a measurement, which comes again
        self._writer = SummaryWriter(str(run / FOLDER), purge_step=step + 1 if step else 0 if begun else None)

    def write(self, line: Mapping[str, object]) -> None:
        """The numbers of a line of metrics.jsonl at its step; a table of numbers becomes one curve a row."""
        step = line["step"]
        for name, value in line.items():
            for key, number in value.items() if isinstance(value, Mapping) else [("", value)]:
                if name not in NO_CURVES and isinstance(number, int | float):
                    self._writer.add_scalar(f"{name}/{key}" if key else name, number, step)

    def picture(self, name: str, step: int, picture_HW3: NDArray[np.uint8]) -> None:
        """A picture of a step."""
        self._writer.add_image(name, picture_HW3, step, dataformats="HWC")

    def flush(self) -> None:
        """Onto the disk, before a checkpoint says that a run is this far."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
