"""What `medsam report` does: rows of runs read, tables and figures drawn, the worst cases pictured, one page written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam.errors import DataError
from medsam.evaluation.figures import (
    Plate,
    count,
    draw_boxes,
    draw_calibration,
    draw_latency,
    draw_modalities,
    draw_podium,
    draw_significance,
    draw_size,
    style,
)
from medsam.evaluation.html import CaseLink, PlateLink, ReportPage, write_page
from medsam.evaluation.measure import Score
from medsam.evaluation.pictures import GridColumn, draw_grid
from medsam.evaluation.report import keep_first_prompt, read_scores, read_volumes
from medsam.evaluation.summary_tables import (
    name_units,
    tabulate_faults,
    tabulate_groups,
    tabulate_measures,
    tabulate_volumes,
)
from medsam.evaluation.tables import (
    MEASURES,
    Cell,
    Measure,
    PairedComparison,
    Table,
    TaskScores,
    compare_tasks,
    group_tasks,
    tabulate_comparisons,
    tabulate_medians,
    tabulate_ranks,
    write_csv,
    write_latex,
    write_markdown,
)
from medsam.files.atomic import replacing, write_text
from medsam.jobs.outputs import check_outputs
from medsam.jobs.report_pictures import CasePictures
from medsam.jobs.report_studies import StudyScores

GRID_CASES = 6  # of the grids of median, best and worst cases: one a modality first
GRID_LINE = 1 / 130  # width of lines there as a share of a picture
DPI = 300
FORMS = {".csv": write_csv, ".md": write_markdown, ".tex": write_latex}
CASE_COLUMNS = ("Case", "Model", "Modality", "Data set", "Target", "Pixels", "Dice", "NSD", "HD95", "Failure")


@dataclass(frozen=True)
class ReportRequest:
    """What to report.

    Args:
        runs: Folders of medsam evaluate.
        output: Folder of the report.
        worst: Cases of each model that are pictured, the worst first; 0 takes all.
        seed: Of the bootstrap.
        rounds: Of the bootstrap.
        overwrite: Whether a report that exists is replaced.
        times: CSV of an annotation study (curves.read_times), drawn as bars.
        tables: Further ones.
    """

    runs: Sequence[Path]
    output: Path
    worst: int = 20
    seed: int = 0
    rounds: int = 2000
    overwrite: bool = False
    times: Path | None = None
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class ReportResult:
    """What was reported.

    Args:
        page: The page.
        ranks: Ranks by Dice as Markdown.
        failed: Rows that count as failed.
        left_out: Rows of cases that not all models have.
        unpictured: Cases without a picture because their image is not where it was.
    """

    page: Path
    ranks: str
    failed: int
    left_out: int
    unpictured: int


def report(request: ReportRequest) -> ReportResult:
    """Write a report: index.html, tables/, figures/, cases/ and figures.pdf.

    Raises:
        DataError: a folder without rows, no case that all models have, or two rows of one model and case.
        OutputError: the disk refused.
    """
    if not request.runs:
        raise DataError("no run", expected="folders of medsam evaluate", fix="name one or more")
    pages = [request.output / "index.html", request.output / "figures.pdf"]
    check_outputs(pages, request.runs, overwrite=request.overwrite)
    read = {run: read_scores(run) for run in dict.fromkeys(request.runs)}
    scores = [score for of in read.values() for score in of]
    tasks, left_out = group_tasks([score for of in read.values() for score in keep_first_prompt(of)])
    names = {score.dataset: run.name for run, of in read.items() for score in of}
    of_task = tuple(names[task.task.dataset] for task in tasks)
    study = StudyScores(scores, of_task, request.times, tuple(run.name for run in read))
    comparisons = {m: compare_tasks(tasks, m, seed=request.seed, rounds=request.rounds) for m in MEASURES}
    whole = [score for run in read for score in keep_first_prompt(read_volumes(run))]
    tables = [
        *_tabulate(tasks, scores, comparisons, request),
        *tabulate_volumes(whole, seed=request.seed, rounds=request.rounds), *study.tabulate(tasks), *request.tables,
    ]  # fmt: skip
    for table in tables:
        write_table(request.output / "tables", table)
    pictures = CasePictures(request.runs, request.output / "cases")
    with style():
        plates = [*_draw(tasks, comparisons), *study.draw(tasks), *_draw_grids(tasks, pictures)]
        for plate in plates:
            write_plate(request.output / "figures", plate)
        _bind_plates(request.output / "figures.pdf", plates)
    cases = _picture_cases(tasks, pictures, request.worst)
    failed = sum(bool(score.fault) for score in scores)
    page = ReportPage(
        "Evaluation report", _state_facts(tasks, request, failed, left_out, len(pictures.missing)), tuple(tables),
        tuple(PlateLink(plate.name, plate.caption, plate.figure.get_figwidth() > 4) for plate in plates),
        CASE_COLUMNS, tuple(cases),
    )  # fmt: skip
    write_text(request.output / "index.html", write_page(page))
    ranks = next(write_markdown(table) for table in tables if table.name == "ranks-dice")
    return ReportResult(request.output / "index.html", ranks, failed, left_out, len(pictures.missing))


def _tabulate(
    tasks: Sequence[TaskScores],
    scores: Sequence[Score],
    comparisons: Mapping[Measure, list[PairedComparison]],
    request: ReportRequest,
) -> list[Table]:
    tables = [tabulate_ranks(tasks, m, seed=request.seed, rounds=request.rounds) for m in MEASURES]
    tables += [tabulate_medians(tasks, comparisons[m], m) for m in MEASURES]
    tables += [*(tabulate_groups(tasks, m) for m in MEASURES), tabulate_measures(tasks)]
    if len(tasks[0].scores) > 1:
        tables += [tabulate_comparisons(comparisons[m], m) for m in MEASURES]
    return [*tables, tabulate_faults(scores)]


def _draw(tasks: Sequence[TaskScores], comparisons: Mapping[Measure, list[PairedComparison]]) -> list[Plate]:
    plates = [draw_boxes(tasks, m) for m in MEASURES]
    if len(tasks[0].scores) > 1:
        plates += [draw_podium(tasks, m) for m in MEASURES]
        plates += [draw_significance(comparisons[m], m) for m in MEASURES]
    calibration = draw_calibration(tasks)
    plates += [draw_size(tasks), draw_latency(tasks), draw_modalities(tasks)]
    return plates if calibration is None else [*plates, calibration]


def _draw_grids(tasks: Sequence[TaskScores], pictures: CasePictures) -> list[Plate]:
    """Grids of a median, the best and the worst case of some tasks, every model beside the others."""
    chosen = _choose_tasks(tasks)
    plates = []
    for name, words in (("median", "of median Dice"), ("best", "of highest Dice"), ("worst", "of least Dice")):
        columns: list[GridColumn] = []
        rows: list[tuple[Cell, ...]] = []
        for task in chosen:
            of_case = [task.scores[method][_pick_case(task, name)] for method in task.scores]
            seen = [one for score in of_case if (one := pictures.draw(score, line_share=GRID_LINE)) is not None]
            if len(seen) == len(of_case):
                columns.append(GridColumn(str(task.task), seen, [f"Dice {score.dice:.2f}" for score in of_case]))
                rows += [(str(task.task), s.sample, s.method, s.dice) for s in of_case]
        if columns:
            caption = f"Cases {words} over all models. Blue: prompt; yellow: model; magenta: expert."
            data = Table(f"grid-{name}", caption, ("Task", "Sample", "Model", "Dice"), tuple(rows))
            plates.append(Plate(f"grid-{name}", caption, draw_grid(columns, list(tasks[0].scores)), data))
    return plates


def _choose_tasks(tasks: Sequence[TaskScores]) -> list[TaskScores]:
    """The largest task of each modality first, then the others by size."""
    largest = sorted(tasks, key=lambda task: -len(task.cases))
    first = {task.task.modality: task for task in reversed(largest)}
    rest = [task for task in largest if task is not first[task.task.modality]]
    ordered = [*sorted(first.values(), key=lambda task: -len(task.cases)), *rest]
    return sorted(ordered[:GRID_CASES], key=lambda task: task.task)


def _pick_case(task: TaskScores, which: str) -> int:
    """The case whose mean Dice over the models is the median one, the highest or the least."""
    columns = [task.values(method, "dice") for method in task.scores]
    means = [sum(values) / len(columns) for values in zip(*columns, strict=True)]
    order = sorted(range(len(means)), key=lambda i: (means[i], i))
    return order[{"worst": 0, "best": -1}.get(which, (len(order) - 1) // 2)]


def _picture_cases(tasks: Sequence[TaskScores], pictures: CasePictures, worst: int) -> list[CaseLink]:
    chosen: list[Score] = []
    for method in tasks[0].scores:
        rows = sorted((s for task in tasks for s in task.scores[method]), key=lambda s: (s.dice, s.nsd, s.sample))
        chosen += rows[: worst or None]
    links = {}
    for score in sorted(chosen, key=lambda s: (s.dataset, s.sample)):  # every picture is read once
        caption = (
            f"{score.dataset} {score.sample} {score.name} {score.method}: Dice {score.dice:.3f}, NSD {score.nsd:.3f}"
        )
        links[id(score)] = CaseLink(_write_case(score), pictures.save(score), f"{caption} {score.fault}".strip())
    return [links[id(score)] for score in sorted(chosen, key=lambda s: (s.dice, s.nsd, s.sample))]


def _write_case(score: Score) -> tuple[str | int, ...]:
    return (
        f"{score.sample} {score.target}", score.method, score.modality, score.dataset, score.name, score.pixels,
        f"{score.dice:.3f}", f"{score.nsd:.3f}", f"{score.hd95:.1f}", score.fault,
    )  # fmt: skip


def _state_facts(
    tasks: Sequence[TaskScores], request: ReportRequest, failed: int, left_out: int, missing: int
) -> tuple[str, ...]:
    cases, groups = sum(len(task.cases) for task in tasks), len({g for task in tasks for g in task.groups})
    facts = [
        f"{count(len(tasks[0].scores), 'model')}, {count(len(tasks), 'task')}, {count(cases, 'case')} of "
        f"{count(groups, 'group')} (patients or volumes). {failed} rows count as failed, with Dice and NSD 0.",
        f"Bootstrap of {request.rounds} rounds, seed {request.seed}. NSD at 2 {name_units(tasks)}.",
    ]
    if left_out:
        facts.append(f"{left_out} rows were left out because another model lacks their case.")
    if missing:
        facts.append(f"{missing} pictures are missing because their images are not where they were.")
    return tuple(facts)


def write_table(folder: Path, table: Table, *, suffixes: Sequence[str] = tuple(FORMS)) -> None:
    """Write a table under its name, once in each form.

    Raises:
        OutputError: the disk refused.
    """
    for suffix in suffixes:
        write_text(folder / f"{table.name}{suffix}", FORMS[suffix](table))


def write_plate(folder: Path, plate: Plate, *, suffixes: Sequence[str] = ("pdf", "svg", "png")) -> None:
    """Write a figure under its name, once in each form, with its data beside it.

    Raises:
        OutputError: the disk refused.
    """
    for suffix in suffixes:
        with replacing(folder / f"{plate.name}.{suffix}") as temporary:
            plate.figure.savefig(temporary, format=suffix, dpi=DPI)
    write_text(folder / f"{plate.name}.csv", write_csv(plate.data))


def _bind_plates(path: Path, plates: Sequence[Plate]) -> None:
    from matplotlib.backends.backend_pdf import PdfPages

    with replacing(path) as temporary, PdfPages(temporary) as book:
        for plate in plates:
            book.savefig(plate.figure)
