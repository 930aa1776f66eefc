"""What a job may write: never over what it reads, never twice to one place, and over what exists only on request."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from medsam.errors import OutputError


def check_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[str | Path | None], *, overwrite: bool = False
) -> None:
    """Refuse outputs that would replace a file that is read, each other, or, unless it is asked for, a file that exists.

    Args:
        outputs: Files to be written; None for one that was not asked for.
        inputs: Files and DICOM folders that are read. A mask that lies in such a folder may be written again.
        overwrite: Whether files that exist may be replaced.

    Raises:
        OutputError: two of them are one file, by whatever path or link, one exists, or its folder is a file.
    """
    wanted = [output for output in outputs if output is not None]
    read = {os.path.realpath(path) for path in inputs if path is not None}
    written: set[str] = set()
    for output in wanted:
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
    for output in wanted:
        above = next((folder for folder in output.parents if folder.is_file()), None)
        if above is not None:
            raise OutputError(f"{above} is a file", expected="a folder for the output", fix="name another one")
        if output.is_file() and not overwrite:
            raise OutputError(
                f"{output} exists already", expected="a new file", fix="name another one, or pass --overwrite"
            )


def choose_series_of_reference(series: str | None, source: Path, reference: Path | None) -> str | None:
    """The series that a mask is written over: `series` means one of the source where that is DICOM, else of the reference.

    Args:
        series: What the caller asked for.
        source: The image that is segmented.
        reference: The DICOM series that the mask belongs to, None for the source itself.
    """
    from medsam.io.formats import detect_format

    return series if reference is None or series is None or detect_format(source).name != "dicom" else None


def _is_a_slice_of(inputs: Iterable[str], output: Path) -> bool:
    """Whether an output would replace an image of a DICOM folder that is read; a mask there may be replaced."""
    if not output.is_file() or not any(os.path.isdir(path) and output.is_relative_to(path) for path in inputs):
        return False
    from medsam.io.dicom.segmentation import holds_mask
    from medsam.io.limits import read_head

    return read_head(output, 132)[128:] == b"DICM" and not holds_mask(output)
