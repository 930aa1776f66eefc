"""Routes of /api/v1 that speak to a PACS over DICOMweb: its series, cases made of them, masks stored beside them."""

from __future__ import annotations

from dataclasses import asdict, replace
from shutil import rmtree
from typing import Annotated

from fastapi import APIRouter, Query

from medsam.errors import DataError
from medsam.io.dicom.pacs_address import PacsAddress, parse_address
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.pacs_cases import add_series, find_archive
from medsam.jobs.project import read_current_mask
from medsam.server.masks import write_export
from medsam.server.schemas import CaseView, PacsQuery, SeriesIn, SeriesView, StoreFormat, StoreView
from medsam.server.state import Annotator, Case, Server, ServerState

router = APIRouter(prefix="/api/v1", tags=["pacs"])


def server_pacs(server: ServerState) -> PacsAddress:
    """The address of the PACS that the server was started with.

    Raises:
        DataError: there is none.
    """
    if server.settings.pacs is None:
        raise DataError(
            "a server without a PACS", expected="one that was started with --pacs",
            fix="start medsam serve with --pacs dicomweb://HOST/dicom-web",
        )  # fmt: skip
    return parse_address(server.settings.pacs)


@router.post("/pacs/query")
def query_series(*, server: Server, asked: PacsQuery) -> list[SeriesView]:
    """List series of the server's PACS."""
    from medsam.io.dicom.web import query

    found = query(
        server_pacs(server), modality=asked.modality, patient_id=asked.patient_id, study_date=asked.study_date,
        limit=asked.limit,
    )  # fmt: skip
    return [SeriesView(**asdict(row)) for row in found]


@router.post("/pacs/cases", status_code=201)
def add_case(*, server: Server, series: SeriesIn) -> CaseView:
    """Fetch a series of the server's PACS and add it to the project, once a process of its own has read it."""
    settings = server.settings
    address = replace(server_pacs(server), study=series.study, series=series.series)
    intensity = IntensityOptions(series.modality or settings.modality, series.window or settings.window)
    case = add_series(server.project, address, settings.folder, FileOptions(), intensity, check=server.check_upload)
    return CaseView(id=case.id, number=case.number, shape=case.shape, status=case.status)


@router.post("/cases/{case_id}/store")
def store_mask(
    *, case: Case, server: Server, me: Annotator, format: StoreFormat = "dicom-seg",
    annotator: Annotated[str | None, Query(max_length=64)] = None,
) -> StoreView:  # fmt: skip
    """Store a mask as DICOM SEG or RTSTRUCT in the server's PACS, or in the one that the scan came from."""
    from medsam.io.dicom.web import store

    address = find_archive(case, server.settings.pacs)
    mask = read_current_mask(server.project, case, annotator or me, server.scans.open(case).stored)
    path = write_export(server.passing, mask, case, format)
    try:
        report = store(address, [path])
    finally:
        rmtree(path.parent, ignore_errors=True)
    return StoreView(format=format, stored=len(report.stored), instances=[*report.stored, *report.present])
