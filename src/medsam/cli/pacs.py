"""`medsam pacs`: query, get and put over DICOMweb."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="pacs", help="Query a PACS over DICOMweb, fetch series, store results.", help_format="plaintext")


@app.command
def query(
    address: str,
    /,
    *,
    modality: str | None = None,
    patient_id: str | None = None,
    study_date: str | None = None,
    limit: int = 100,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """List series: study and series UID, modality, number of instances, description.

    Parameters
    ----------
    address
        dicomweb://host:port/dicom-web (dicomwebs:// for https), or a study below it.
    modality
        Only this modality, as CT.
    patient_id
        Only this patient.
    study_date
        Only studies of YYYYMMDD or YYYYMMDD-YYYYMMDD.
    limit
        Most series to list.
    json
        Print JSON instead of a table.
    """
    from medsam.io.dicomweb import parse_address
    from medsam.io.dicomweb import query as ask

    rows = ask(parse_address(address), modality=modality, patient_id=patient_id, study_date=study_date, limit=limit)
    if json:
        import dataclasses
        import json as encoder

        print(encoder.dumps([dataclasses.asdict(row) for row in rows], indent=1))
        return
    for row in rows:
        print(
            f"{row.modality:<10} {row.instances if row.instances is not None else '?':>5}  studies/{row.study}/series/{row.series}  {row.description}"
        )
    print(f"{len(rows)} series", file=sys.stderr)


@app.command
def get(address: str, /, *, output: Annotated[Path, Parameter(name=["--output", "-o"])]) -> None:
    """Fetch a series into a new folder, whole or not at all.

    Parameters
    ----------
    address
        dicomweb://host:port/dicom-web/studies/UID/series/UID
    output
        Folder to make.
    """
    from medsam.io.dicomweb import fetch, parse_address

    count = fetch(parse_address(address), output)
    print(f"{output}: {count} instances")


@app.command
def put(
    paths: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    address: Annotated[str, Parameter(name=["--address", "-a"])],
) -> None:
    """Store DICOM files in an archive; what it has already is not stored twice.

    Parameters
    ----------
    paths
        DICOM files or folders of them.
    address
        dicomweb://host:port/dicom-web
    """
    from medsam.io.dicomweb import parse_address, store

    files = [
        file
        for path in paths
        for file in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])
    ]
    report = store(parse_address(address), files)
    print(f"{len(report.stored)} stored, {len(report.present)} there already")
