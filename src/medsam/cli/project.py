"""`medsam project`: make a project, open it in the browser, add scans, see how far they are, export masks, report times, compare annotators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from medsam.cli.flags import FileFlags, IntensityFlags, Output, Overwrite, ThisTerminal
from medsam.cli.open import open_
from medsam.jobs.options import FileOptions, IntensityOptions

app = App(
    name="project",
    help="Projects of annotations: new, open, add, list, export, report, agreement, consensus.",
    help_format="plaintext",
)
app.command(open_, name="open")


@app.command
def new(project: str, /, *, terminal: ThisTerminal) -> None:
    """Make a new, empty project.

    Example: medsam project new study/

    Args:
        project: A folder that is new or empty, or postgresql://... of an empty database.
    """
    from medsam.annotation.study.project import create_project

    create_project(project).close()
    terminal.report({"cases": 0}, "the project is ready; add scans with medsam project add")


@app.command
def add(
    project: str,
    scans: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    terminal: ThisTerminal,
) -> int:
    """Add scans; the files stay where they are, and nothing of their headers is kept.

    Example: medsam project add study/ scans/a.nii.gz scans/b.nii.gz --modality MR

    Args:
        project: The project.
        scans: Image files, DICOM folders, or series of a PACS (dicomweb://host/dicom-web/studies/.../series/...), which are fetched.
    """
    from medsam.annotation.study.project import open_project
    from medsam.errors import MedsamError
    from medsam.io.dicom.pacs_address import is_address, parse_address, redact
    from medsam.jobs.pacs_cases import add_series
    from medsam.jobs.project import add_scan
    from medsam.jobs.serve import choose_folder

    added, failed = [], 0
    with open_project(project) as opened:
        for scan in scans:
            try:
                if is_address(scan):
                    case = add_series(opened, parse_address(str(scan)), choose_folder(project), file, intensity)
                else:
                    case = add_scan(opened, scan, file, intensity)
            except MedsamError as error:
                if len(scans) == 1:
                    raise
                failed += 1
                terminal.note(f"{redact(scan)}: {error}")
                continue
            added.append(case)
    rows = [{"number": case.number, "id": case.id, "shape": case.shape} for case in added]
    lines = [f"case {case.number}: {' x '.join(map(str, case.shape))}" for case in added]
    terminal.report(rows, "\n".join(lines))
    return 1 if failed else 0


@app.command(name="list")
def list_(project: str, /, *, terminal: ThisTerminal) -> None:
    """List the cases: number, shape, status, and who has saved how often.

    Example: medsam project list study/

    Args:
        project: The project.
    """
    from dataclasses import asdict

    from medsam.annotation.study.project import open_project
    from medsam.jobs.project import list_cases

    with open_project(project) as opened:
        rows = list_cases(opened)
    lines = ["case  shape              status    saves"]
    for row in rows:
        saves = ", ".join(f"{who} {count}" for who, count in row.saves.items()) or "none"
        lines.append(f"{row.number:4}  {' x '.join(map(str, row.shape)):17}  {row.status:8}  {saves}")
    terminal.answer([asdict(row) for row in rows], "\n".join(lines))


@app.command
def export(
    project: str,
    /,
    *,
    output: Output,
    case: Annotated[list[int] | None, Parameter(negative=())] = None,
    annotator: str | None = None,
    suffix: str = ".nii.gz",
    format: str | None = None,
    overwrite: Overwrite = False,
    terminal: ThisTerminal,
) -> None:
    """Write the masks that annotators stand at into a folder, named case-N-ANNOTATOR.

    Example: medsam project export study/ -o masks/ --suffix .seg.nrrd

    Args:
        project: The project.
        output: Folder for the masks.
        case: Number of a case; give it again for further ones. All without it.
        annotator: Only of this one; of everybody without it.
        suffix: Chooses the format: .nii.gz, .nrrd, .seg.nrrd, .mha, .npz, .dcm, ...
        format: Format where the suffix does not tell it (rtstruct, dicom-seg:LABELMAP).
    """
    from medsam.annotation.study.project import open_project
    from medsam.jobs.project import export_masks

    with open_project(project) as opened:
        masks = export_masks(
            opened, output, numbers=case, annotator=annotator, suffix=suffix, format=format, overwrite=overwrite
        )
        paths = [str(path) for path in masks]
    terminal.report(paths, "\n".join(paths))


@app.command
def report(project: str, /, *, output: Output, overwrite: Overwrite = False, terminal: ThisTerminal) -> None:
    """Report the time that each case and phase took, with and without the model, by annotator.

    Times come from what happened: a pause of more than 60 s is idle, which is shown and does not count.

    Example: medsam project report study/ -o report/

    Args:
        project: The project.
        output: Folder for times and annotators (.csv, .md) and figures/times (.png, .svg, .csv).
    """
    from dataclasses import asdict

    from medsam.annotation.study.project import open_project
    from medsam.evaluation.tables import write_markdown
    from medsam.jobs.project_report import report_study

    with open_project(project) as opened:
        result = report_study(opened, output, overwrite=overwrite)
    terminal.report([asdict(one) for one in result.times], write_markdown(result.table))


Cases = Annotated[list[int] | None, Parameter(negative=())]


@app.command
def agreement(
    project: str, /, *, case: Cases = None, tolerance_mm: float = 2.0, output: Path | None = None,
    overwrite: Overwrite = False, terminal: ThisTerminal,
) -> None:  # fmt: skip
    """Compare every two annotators of a case: Dice, surface distance (NSD) and volume of each object.

    Example: medsam project agreement study/ --case 3

    Args:
        project: The project.
        case: Number of a case; give it again for further ones. All that two have annotated without it.
        tolerance_mm: Of the surface distance.
        output: Also write the table to this file (.csv).
    """
    from dataclasses import asdict

    from medsam.annotation.study.agreement import tabulate_agreement
    from medsam.annotation.study.project import open_project
    from medsam.evaluation.tables import write_csv, write_markdown
    from medsam.files.atomic import write_text
    from medsam.jobs.outputs import check_outputs
    from medsam.jobs.project_agreement import agree_on_project

    check_outputs([output], [], overwrite=overwrite)
    with open_project(project) as opened:
        rows = list(agree_on_project(opened, case, tolerance_mm=tolerance_mm))
    table = tabulate_agreement(rows, tolerance_mm=tolerance_mm)
    if output is not None:
        write_text(output, write_csv(table))
    terminal.answer([{"case": number, **asdict(row)} for number, row in rows], write_markdown(table))


@app.command
def consensus(
    project: str, /, *, case: Cases = None,
    annotator: Annotated[list[str] | None, Parameter(negative=())] = None, terminal: ThisTerminal,
) -> None:  # fmt: skip
    """Make one mask of those of several annotators (STAPLE), and save it as the state of "consensus".

    It is exported like any other: medsam project export study/ --annotator consensus -o masks/

    Example: medsam project consensus study/ --case 3

    Args:
        project: The project.
        case: Number of a case; give it again for further ones. All that two have annotated without it.
        annotator: Only of this one's mask and those given with it; of everybody's without it.
    """
    from medsam.annotation.study.project import open_project
    from medsam.jobs.project_agreement import save_consensuses

    with open_project(project) as opened:
        heads = list(save_consensuses(opened, case, annotator))
    rows = [{"case": number, "revision": head.revision, "version": head.version} for number, head in heads]
    terminal.report(rows, "\n".join(f"case {number}: consensus, version {head.version}" for number, head in heads))
