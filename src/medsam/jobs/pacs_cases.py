"""Series of a PACS as cases of a project: fetched into its folder, remembered by address, results stored beside them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

from medsam.annotation.study.project import Project, ProjectCase
from medsam.errors import DataError
from medsam.io.dicom.pacs_address import PacsAddress, parse_address
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.project import add_scan

PACS = "pacs"  # of a case's options: the archive's address, without user and password
SERIES = "pacs_series"  # a hash of the address of its series, by which it is found again


def add_series(
    project: Project, address: PacsAddress, folder: Path, file: FileOptions = FileOptions(),
    intensity: IntensityOptions = IntensityOptions(), *, check: Callable[[Path], None] | None = None,
) -> ProjectCase:  # fmt: skip
    """Fetch a series and add it to a project.

    The files lie under a random name in the folder `uploads`, as they came; a series that cannot be added leaves none.

    Args:
        project: Open.
        address: Of a series; user and password are not kept.
        folder: Of the project.
        file: As add_scan.
        intensity: As add_scan.
        check: Called with the folder of the series before it is read.

    Raises:
        MedsamError: as fetch and add_scan.
    """
    from medsam.io.dicom.web import fetch

    uploads = folder / "uploads"
    uploads.mkdir(parents=True, exist_ok=True)
    place = uploads / secrets.token_hex(16)
    fetch(address, place)
    try:
        if check is not None:
            check(place)
        return add_scan(project, place, file, intensity, origin={PACS: _archive(address), SERIES: _hash(address)})
    except BaseException:
        rmtree(place, ignore_errors=True)
        raise


def find_series(project: Project, address: PacsAddress) -> ProjectCase | None:
    """The case that a series was made, where there is one."""
    return next((case for case in project.cases() if case.options.get(SERIES) == _hash(address)), None)


def find_archive(case: ProjectCase, chosen: str | None = None) -> PacsAddress:
    """Where the results of a case go: the archive chosen, or the one that its scan came from (signed in by ~/.netrc).

    Raises:
        DataError: neither is there.
    """
    address = chosen or case.options.get(PACS)
    if address is None:
        raise DataError(
            f"case {case.number} came from no PACS", expected="a server with --pacs, or a series added by its address",
            fix="start medsam serve with --pacs dicomweb://HOST/dicom-web, or export a file",
        )  # fmt: skip
    return parse_address(str(address))


def _hash(address: PacsAddress) -> str:
    return hashlib.sha256(repr((address.url, address.study, address.series)).encode()).hexdigest()


def _archive(address: PacsAddress) -> str:
    """The archive's own address, without its series and without user and password."""
    scheme, _, rest = address.url.partition("://")
    return f"{'dicomwebs' if scheme == 'https' else 'dicomweb'}://{rest}"
