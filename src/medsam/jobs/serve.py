"""What `medsam serve` opens: a project as it is, or one beside a folder or a scan."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from medsam.annotation.study.database import FILE, find_folder
from medsam.annotation.study.project import Project, create_project, open_project
from medsam.errors import DataError, MedsamError
from medsam.io.dicom.pacs_address import EXAMPLE, PacsAddress, is_address, parse_address
from medsam.io.formats import detect_format
from medsam.io.suffixes import find_suffix
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.pacs_cases import add_series, find_series
from medsam.jobs.project import add_scan

BESIDE = "medsam-project"


def open_for_serving(
    source: str, file: FileOptions, intensity: IntensityOptions, say: Callable[[str], None]
) -> tuple[Project, Path]:  # fmt: skip
    """Open a project, or make one of the scans of a folder or of one scan, beside them, and go on with it the next time.

    Args:
        source: A project's folder or PostgreSQL address, a folder of scans, a DICOM folder, a scan, or the dicomweb://
            address of a series, which is fetched once; its project lies below the present folder.
        file: Which image of each.
        intensity: Their modality and window.
        say: Called with a line for each scan that cannot be added.

    Returns:
        The project, and the folder for uploads and embeddings.

    Raises:
        MedsamError: no project and no scan that can be added; a project that was made for them is removed again.
    """
    if source.startswith("postgresql"):
        return open_project(source), choose_folder(source)
    if is_address(source):
        return _open_series(parse_address(source), file, intensity)
    place = Path(source)
    if (place / FILE).is_file():
        return open_project(place), place
    if not place.exists():
        raise DataError(f"{source} does not exist", expected="a project, a folder or a scan", fix="check the path")
    scans = list(_scans_in(place))
    folder = place / BESIDE if place.is_dir() and scans != [place] else place.parent / f"{place.name}.{BESIDE}"
    made, fresh = not folder.exists(), not (folder / FILE).is_file()
    project = create_project(folder) if fresh else open_project(folder)
    known = {case.source for case in project.cases()}
    try:
        for scan in scans:
            if str(scan.resolve()) not in known:
                try:
                    add_scan(project, scan, file, intensity)
                except MedsamError as error:
                    if scans == [place]:
                        raise
                    say(f"{scan}: {error}")
        if not project.cases():
            raise DataError(f"{source} holds no scan that can be opened", expected="images", fix="see the lines above")
    except BaseException:
        empty = not project.cases()
        project.close()
        if made and empty:  # nothing is kept of a project that was made for what cannot be opened
            shutil.rmtree(folder)
        raise
    return project, folder


def _open_series(address: PacsAddress, file: FileOptions, intensity: IntensityOptions) -> tuple[Project, Path]:
    if address.series is None:
        raise DataError("an address without a series", expected=EXAMPLE.replace("[", "").replace("]", ""),
                        fix="name one; medsam pacs query lists them")  # fmt: skip
    folder = Path.cwd() / BESIDE
    made, fresh = not folder.exists(), not (folder / FILE).is_file()
    project = create_project(folder) if fresh else open_project(folder)
    try:
        if find_series(project, address) is None:
            add_series(project, address, folder, file, intensity)
    except BaseException:
        empty = not project.cases()
        project.close()
        if made and empty:
            shutil.rmtree(folder)
        raise
    return project, folder


def choose_folder(address: str) -> Path:
    """The folder for uploads and embeddings of a project: its own, or one below the present for PostgreSQL."""
    return find_folder(address) or Path.cwd() / BESIDE


def _scans_in(place: Path) -> Iterator[Path]:
    """The scan itself; of a folder its images, or the folder where it is a DICOM series, and series in folders below."""
    if place.is_file():
        yield place
        return
    inside = sorted(path for path in place.iterdir() if not path.name.startswith(".") and BESIDE not in path.name)
    images = [path for path in inside if path.is_file() and _is_image(path)]
    folders = [path for path in inside if path.is_dir()]
    if not images and not folders:
        yield place
        return
    yield from images
    yield from folders


def _is_image(path: Path) -> bool:
    return (
        bool(find_suffix(path, "read_image"))
        and "read_image" in detect_format(path).can
        and path.suffix.lower() != ".dcm"
    )
