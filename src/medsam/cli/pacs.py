"""`medsam pacs`: query, get and put over DICOMweb."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from medsam.cli.flags import Output, ThisTerminal

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
    terminal: ThisTerminal,
) -> None:
    """List series: study and series UID, modality, number of instances, description.

    Example: medsam pacs query dicomweb://pacs:8042/dicom-web --modality CT

    Args:
        address: dicomweb://host:port/dicom-web (dicomwebs:// for https), or a study below it.
        modality: Only this modality, as CT.
        patient_id: Only this patient.
        study_date: Only studies of YYYYMMDD or YYYYMMDD-YYYYMMDD.
        limit: Most series to list.
    """
    from medsam.io.dicom.web import parse_address
    from medsam.io.dicom.web import query as ask

    rows = ask(parse_address(address), modality=modality, patient_id=patient_id, study_date=study_date, limit=limit)
    lines = [
        f"{row.modality:<10} {'?' if row.instances is None else row.instances:>5}  "
        f"studies/{row.study}/series/{row.series}  {row.description}\n"
        for row in rows
    ]
    terminal.answer([asdict(row) for row in rows], "".join(lines))
    terminal.note(f"{len(rows)} series")


@app.command
def get(address: str, /, *, output: Output, terminal: ThisTerminal) -> None:
    """Fetch a series into a new folder, whole or not at all.

    Example: medsam pacs get dicomweb://pacs:8042/dicom-web/studies/1.2/series/3.4 -o series/

    Args:
        address: dicomweb://host:port/dicom-web/studies/UID/series/UID
        output: Folder to make.
    """
    from medsam.io.dicom.web import fetch, parse_address

    with terminal.progress("fetch") as progress:
        count = fetch(parse_address(address), output, progress=progress)
    terminal.report({"output": str(output), "instances": count}, f"{output}: {count} instances")


@app.command
def put(
    paths: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    address: Annotated[str, Parameter(name=["--address", "-a"])],
    terminal: ThisTerminal,
) -> None:
    """Store DICOM files in an archive; what it has already is not stored twice.

    Example: medsam pacs put tumor.dcm --address dicomweb://pacs:8042/dicom-web

    Args:
        paths: DICOM files or folders of them.
        address: dicomweb://host:port/dicom-web
    """
    from medsam.io.dicom.web import parse_address, store

    files = [
        file
        for path in paths
        for file in (sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])
    ]
    report = store(parse_address(address), files)
    terminal.report(asdict(report), f"{len(report.stored)} stored, {len(report.present)} there already")
