"""What a verb may write: never over what it reads, and never twice to one place."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from medsam.errors import OutputError


def refuse_overwriting(outputs: Iterable[Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse outputs that would replace a file that is read, or each other.

    Args:
        outputs: Files to be written; None for one that was not asked for.
        inputs: Files and DICOM folders that are read. A mask that lies in such a folder may be written again.

    Raises:
        OutputError: two of them are one file, by whatever path or link.
    """
    read = {os.path.realpath(path) for path in inputs if path is not None}
    written: set[str] = set()
    for output in outputs:
        if output is None:
            continue
        place = os.path.realpath(output)
        if place in read or _is_a_slice_of(read, Path(place)):
            raise OutputError(
                f"{output} is to be written and is also read",
                expected="an output of its own",
                fix="write elsewhere; the input is untouched",
            )
        if place in written:
            raise OutputError(
                f"{output} is to be written twice", expected="a file for each output", fix="name them apart"
            )
        written.add(place)


def _is_a_slice_of(inputs: Iterable[str], output: Path) -> bool:
    """Whether an output would replace an image of a DICOM folder that is read; a mask there may be replaced."""
    if not output.is_file() or not any(os.path.isdir(path) and output.is_relative_to(path) for path in inputs):
        return False
    from medsam.io.dicom_seg import holds_mask
    from medsam.io.limits import head

    return head(output, 132)[128:] == b"DICM" and not holds_mask(output)
