"""What `medsam project` and the server do with a project: scans in, a table out, masks out."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.study.project import Project, ProjectCase, Status
from medsam.errors import DataError, MedsamError
from medsam.imaging.image import Image, Mask
from medsam.imaging.intensity import find_intensity_bounds
from medsam.io.formats import check_writable, read_image, write_mask
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.outputs import check_outputs


@dataclass(frozen=True)
class CaseRow:
    """One line of the list of a project.

    Args:
        number: From 1.
        id: Of the case.
        shape: (D, H, W).
        status: How far it is.
        saves: Annotator to saved states.
    """

    number: int
    id: str
    shape: tuple[int, int, int]
    status: Status
    saves: Mapping[str, int]


def read_options(case: ProjectCase) -> tuple[FileOptions, IntensityOptions]:
    """How the scan of a case is read."""
    kept = case.options
    series, modality, window = (
        None if (value := kept.get(name)) is None else str(value) for name in ("series", "modality", "window")
    )
    volume = kept.get("volume")
    geometry: Literal["refuse", "resample"] = "resample" if kept.get("geometry") == "resample" else "refuse"
    return FileOptions(series, geometry, volume if isinstance(volume, int) else None), IntensityOptions(
        modality, window
    )


def _read(source: str | Path, file: FileOptions, intensity: IntensityOptions) -> Image:
    return read_image(
        source, modality=intensity.modality, series=file.series, geometry=file.geometry, volume=file.volume
    )


def fingerprint(values: NDArray[np.generic]) -> str:
    """Hex sha256 over the voxels, their shape and their type; names and headers have no part in it."""
    little = values.dtype.newbyteorder("<")
    digest = hashlib.sha256(repr((values.shape, little.str)).encode())
    for plane in values:
        digest.update(np.ascontiguousarray(plane, dtype=little).data)
    return digest.hexdigest()


def add_scan(
    project: Project, source: str | Path, file: FileOptions = FileOptions(),
    intensity: IntensityOptions = IntensityOptions(), *, extra: Mapping[str, object] | None = None,
    origin: Mapping[str, str] | None = None,
) -> ProjectCase:  # fmt: skip
    """Add a scan to a project; nothing of its header is kept but the shape.

    Args:
        source: Image file or DICOM folder; kept as an absolute path.
        file: Which image of it.
        intensity: Its modality and window.
        extra: Further options of the case, in JSON values; with them the scan may be one that cannot be normalized yet.
        origin: Further options that say where it came from, without user, password and patient.

    Raises:
        MedsamError: it cannot be read or normalized, or is in the project already.
    """
    image = _read(source, file, intensity)
    if extra is None:
        find_intensity_bounds(image, intensity.window)
    told = {**vars(file), **vars(intensity), **(origin or {})}
    kept = {name: value for name, value in told.items() if value not in (None, "refuse")}
    return project.add_case(
        str(Path(source).resolve()), image.grid.shape, fingerprint(image.values), {**kept, **(extra or {})}
    )


def read_case(case: ProjectCase) -> Image:
    """Read the scan of a case, as stored, and make sure that it is the one that was added.

    Raises:
        DataError: it is not there, cannot be read, or has other voxels; its path, which may hold names, is not shown.
    """
    try:
        image = _read(case.source, *read_options(case))
    except MedsamError as error:
        raise DataError(
            f"the scan of case {case.number} cannot be read ({type(error).__name__})",
            expected="the file that was added",
            fix="put it back where it was, or add it anew",
        ) from error
    if fingerprint(image.values) != case.fingerprint:
        raise DataError(
            f"the scan of case {case.number} has other voxels than when it was added",
            expected="the same scan",
            fix="put the old file back, or add this one as a new case",
        )
    return image


def list_cases(project: Project) -> list[CaseRow]:
    """The cases of a project with what was saved in them."""
    return [
        CaseRow(
            case.number, case.id, case.shape, case.status,
            dict(sorted(Counter(who for who, kind, _, _ in project.history(case.id) if kind == "save").items())),
        )
        for case in project.cases()
    ]  # fmt: skip


def find_case_by_number(project: Project, number: int) -> ProjectCase:
    """The case that people call by its number.

    Raises:
        DataError: there is none.
    """
    for case in project.cases():
        if case.number == number:
            return case
    raise DataError(f"case {number}", expected="a case of the project", fix="see medsam project list")


def export_masks(
    project: Project, folder: Path, *, numbers: Sequence[int] | None = None, annotator: str | None = None,
    suffix: str = ".nii.gz", format: str | None = None, overwrite: bool = False,
) -> Iterator[Path]:  # fmt: skip
    """Write the masks that annotators stand at, as case-N-ANNOTATOR.

    Args:
        folder: Where to; made if need be.
        numbers: Of the cases; all that have a mask without it.
        annotator: Only of this one; of everybody without it.
        suffix: Chooses the format.
        format: Where the suffix does not tell.
        overwrite: Whether masks that exist are replaced.

    Yields:
        Each file, once it is written.

    Raises:
        DataError: a case that is not there or has no such mask. OutputError: it cannot be written.
    """
    chosen = project.cases() if numbers is None else [find_case_by_number(project, number) for number in numbers]
    wanted: list[tuple[Path, ProjectCase, str]] = []
    for case in chosen:
        for who in [annotator] if annotator is not None and numbers is not None else project.annotators(case.id):
            if annotator not in (None, who) or (numbers is None and project.head(case.id, who).revision is None):
                continue
            output = folder / f"case-{case.number}-{_file_name(who)}{suffix}"
            wanted.append((output, case, who))
    if not wanted:
        raise DataError(
            "no mask to export", expected="a case in which something was saved", fix="see medsam project list"
        )
    check_outputs([output for output, _, _ in wanted], [case.source for _, case, _ in wanted], overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for output, case, who in wanted:
        export_mask(project, case, who, output, format=format)
        yield output


def _file_name(annotator: str) -> str:
    """An annotator's name with letters, digits and hyphens only, so that it leads nowhere else."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", annotator).strip("-") or "annotator"


def export_mask(
    project: Project, case: ProjectCase, annotator: str, output: Path, *, format: str | None = None
) -> Mask:  # fmt: skip
    """Write the mask that an annotator stands at, on the grid of the scan.

    Args:
        output: The suffix chooses the format, as in write_mask; the scan is the reference.
        format: Where the suffix does not tell.

    Returns:
        The mask that was written.

    Raises:
        DataError: the annotator has saved nothing there. OutputError: it cannot be written.
    """
    check_writable(output, reference=case.source, format=format)
    mask = read_current_mask(project, case, annotator, read_case(case))
    write_mask(mask, output, reference=case.source, format=format, series=read_options(case)[0].series)
    return mask


def read_current_mask(project: Project, case: ProjectCase, annotator: str, image: Image) -> Mask:
    """The mask that an annotator stands at, with the names and colours of the objects.

    Raises:
        DataError: the annotator stands at nothing.
    """
    state = project.current(case.id, annotator)
    if state is None:
        known = ", ".join(project.annotators(case.id)) or "nobody"
        raise DataError(
            f"no mask of {annotator} in case {case.number}", expected=f"an annotator of the case ({known})",
            fix="name one of them, or draw something first",
        )  # fmt: skip
    objects = project.objects(case.id)
    names = {item.label: item.name for item in objects if item.name}
    colors = {item.label: item.color for item in objects if item.color is not None}
    codes = {item.label: item.code for item in objects if item.code is not None}
    return Mask(state.labels, image.grid, names, colors, codes)
