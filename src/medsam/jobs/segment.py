"""One or many images through one loaded model: plan, segment, write, go on where a stopped run stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsam.errors import MedsamError, OutputError, PromptError
from medsam.imaging.image import Grid, Mask
from medsam.imaging.prompts import Prompt, place
from medsam.io.dicom.pacs_address import is_address, redact
from medsam.io.formats import check_writable, read_mask, write_mask
from medsam.jobs.inputs import Scan, local_path, read_scan, store_result
from medsam.jobs.outputs import check_outputs, choose_series_of_reference
from medsam.jobs.picture import check_picture, write_picture
from medsam.jobs.record import MaskRun, Row, describe_request, describe_run, read_record, write_record
from medsam.jobs.segment_plan import SegmentPlan, SegmentRequest, SegmentTask, open_scan_of_markups, plan_segmentation
from medsam.jobs.slide import check_slide, is_slide, segment_slide_file

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor
    from medsam.progress import Progress

log = logging.getLogger("medsam")
FLAT = (".png", ".json")  # hold one slice
RECORD = "medsam.json"  # of a folder of masks: what made each of them


@dataclass(frozen=True)
class SegmentResult:
    """What came of a request.

    Args:
        runs: One for each mask that was made.
        kept: Masks of an earlier run of the same request.
        failures: Source to reason.
        several: Whether the masks went into a folder.
    """

    runs: tuple[MaskRun, ...]
    kept: tuple[Path, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    several: bool = False


@dataclass(frozen=True, eq=False)
class _Opened:
    """One image on this machine, read and checked; a slide is read window by window later."""

    task: SegmentTask
    path: Path
    reference: Path
    scan: Scan | None
    previous: Mask | None


def segment(request: SegmentRequest, *, progress: Progress | None = None) -> SegmentResult:
    """Segment all inputs and write their masks, pictures and records.

    Args:
        request: What to do.
        progress: Called with (slices done, slices in all) of one image, with images of several.

    Raises:
        MedsamError: the one input is at fault, or the run cannot start. Of several inputs those at fault are named in
            the result, and the others are segmented.
    """
    with open_scan_of_markups(request) as scan:
        return _segment(request, plan_segmentation(request, scan), progress)


def _segment(request: SegmentRequest, plan: SegmentPlan, progress: Progress | None) -> SegmentResult:
    for task in plan.tasks:
        check_picture(task.overlay)
    files = [path for task in plan.tasks for path in (task.output, task.overlay)]
    inputs = [*(task.source for task in plan.tasks), request.prompts_file, request.mask.reference, request.from_mask]
    check_outputs([*files, request.beside.record], inputs, overwrite=plan.folder or request.mask.overwrite)
    for task in plan.tasks:
        reference = request.mask.reference or task.source
        if not is_address(task.source) and not is_address(reference):
            _check_writable(task, task.source, reference, request)
    if plan.folder:
        return _segment_folder(request, plan, progress)
    (task,) = plan.tasks
    with _opened(task, request, plan.scan) as opened:  # bad input is refused before the model is loaded
        predictor = request.model.load(request.engine)
        run = _make_mask(predictor, opened, request, progress)
    if request.beside.record is not None:
        write_record(request.beside.record, describe_run(predictor, _settings(request)), [run.as_row()])
    return SegmentResult((run,))


def _segment_folder(request: SegmentRequest, plan: SegmentPlan, progress: Progress | None) -> SegmentResult:
    tasks = plan.tasks
    predictor = request.model.load(request.engine)
    shared = describe_run(predictor, _settings(request))
    kept = {} if request.mask.overwrite else _rows_of_earlier_masks(request, tasks, shared)
    if kept:
        log.warning("%d of %d masks are there already (--overwrite makes them again)", len(kept), len(tasks))
    open_tasks = [task for task in tasks if task.output not in kept]
    asked = {task.output: _ask(task) for task in open_tasks if not task.output.exists()}
    request.output.mkdir(parents=True, exist_ok=True)
    # The record says what is asked before the first mask is made, so that a killed run knows its masks again.
    write_record(request.output / RECORD, shared, [*kept.values(), *asked.values()])
    made: dict[Path, MaskRun] = {}
    failures: dict[str, str] = {}
    try:
        outcomes = _make_masks(predictor, open_tasks, request, plan.scan)
        for done, (task, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, MaskRun):
                made[task.output] = outcome
            else:
                failures[redact(task.source)] = str(outcome)
                log.warning("%s: %s", redact(task.source), outcome)
            if progress is not None:
                progress(done, len(open_tasks))
    finally:  # an interrupted run keeps its masks, and so the record of how they were made
        finished = [run.as_row() for run in made.values()]
        begun = [row for output, row in asked.items() if output not in made and output.exists()]
        write_record(request.output / RECORD, shared, [*kept.values(), *finished, *begun])
        if request.beside.record is not None and finished:
            write_record(request.beside.record, shared, [*kept.values(), *finished])
    return SegmentResult(tuple(made.values()), tuple(kept), failures, several=True)


def _make_masks(
    predictor: Predictor, tasks: Sequence[SegmentTask], request: SegmentRequest, read: Scan | None
) -> Iterator[tuple[SegmentTask, MaskRun | MedsamError]]:
    """Make the masks one after another, or several at once where the model has several devices; as they are done."""

    def make(task: SegmentTask) -> MaskRun | MedsamError:
        try:
            with _opened(task, request, read) as opened:
                return _make_mask(predictor, opened, request, None)
        except MedsamError as error:
            return error

    if predictor.devices == 1:
        yield from ((task, make(task)) for task in tasks)
        return
    with ThreadPoolExecutor(predictor.devices) as pool:
        waiting = {pool.submit(make, task): task for task in tasks}
        try:
            yield from ((waiting[done], done.result()) for done in as_completed(waiting))
        finally:
            pool.shutdown(cancel_futures=True)


def _rows_of_earlier_masks(request: SegmentRequest, tasks: Sequence[SegmentTask], shared: Row) -> dict[Path, Row]:
    """The rows of masks that exist and were made from the same prompts by the same model; others are refused.

    Raises:
        OutputError: a mask that was made in another way, or in a way that the folder's record does not know.
    """
    record = read_record(request.output / RECORD)
    by_name = {Path(output).name: output for output in record.rows}
    kept: dict[Path, Row] = {}
    for task in tasks:
        if not task.output.exists():
            continue
        row = record.find_row(Path(by_name.get(task.output.name, "")))
        wanted = {**shared, **_ask(task)}
        told = ("weights", "prompts", *_settings(request))
        differs = ["how it was made"] if row is None else [key for key in told if row.get(key) != wanted[key]]
        if row is None or differs:
            raise OutputError(
                f"{task.output} exists and its record differs in {', '.join(differs)}",
                expected="masks of the same prompts, settings and model",
                fix="pass --overwrite to make it again, or another folder",
            )
        kept[task.output] = row
    return kept


def _ask(task: SegmentTask) -> dict[str, object]:
    return describe_request(redact(task.source), task.output, task.prompts)


def _settings(request: SegmentRequest) -> dict[str, object]:
    return {
        "modality": request.intensity.modality, "window": request.intensity.window, "plane": request.plane,
        "volume": request.file.volume, "geometry": request.file.geometry, "overlap": request.overlap,
        "interpolate": request.interpolate, "clean": list(request.clean),
        "from_mask": None if request.from_mask is None else redact(request.from_mask),
    }  # fmt: skip


@contextmanager
def _opened(task: SegmentTask, request: SegmentRequest, read: Scan | None) -> Iterator[_Opened]:
    """Fetch, read and check one image, unless it was read for its prompts already."""
    source = task.source if read is None else read.path
    with local_path(source) as path, local_path(request.mask.reference or path) as reference:
        if is_address(task.source) or is_address(request.mask.reference):
            _check_writable(task, path, reference, request)
        if is_slide(path, task.output):
            check_slide(task.output, task.prompts)
            _refuse_for_slides(request)
            yield _Opened(task, path, reference, None, None)
            return
        scan = read or read_scan(path, request.file, request.intensity, request.plane)
        if task.output.suffix.lower() == ".dcm":  # several series may have this grid
            _check_writable(task, path, reference, request, grid=scan.image.grid)
        shape = scan.sliced.grid.shape
        for prompt in task.prompts:
            place(prompt, shape)
        _refuse_flat(task, request, shape[0])
        previous = None
        if request.from_mask is not None:
            with local_path(request.from_mask) as drawn:
                previous = read_mask(drawn, reference=scan.image.grid)
        yield _Opened(task, path, reference, scan, previous)


def _refuse_for_slides(request: SegmentRequest) -> None:
    asked = {"--from-mask": request.from_mask, "--clean": request.clean, "--interpolate": request.interpolate}
    for flag, value in asked.items():
        if value:
            raise PromptError(f"{flag} on a whole slide", expected="boxes alone", fix=f"leave {flag} out")


def _refuse_flat(task: SegmentTask, request: SegmentRequest, depth: int) -> None:
    if depth > 1 and task.output.suffix.lower() in FLAT and _only_slice(task.prompts) is None:
        raise OutputError(
            f"prompts on several of {depth} slices for {task.output}",
            expected="one slice",
            fix="write .nii.gz, .nrrd, .mha or .tif instead; --overlay makes a picture",
        )


def _only_slice(prompts: Sequence[Prompt]) -> int | None:
    """The slice all prompts lie on; None where there are several, or 3D boxes."""
    slices = {prompt.slice if prompt.box_3d is None else None for prompt in prompts}
    return slices.pop() if len(slices) == 1 else None


def _make_mask(predictor: Predictor, opened: _Opened, request: SegmentRequest, progress: Progress | None) -> MaskRun:
    from medsam.inference.cache import EmbeddingCache
    from medsam.inference.volume.segment import segment as segment_image

    task, scan = opened.task, opened.scan
    if scan is None:
        return segment_slide_file(predictor, opened.path, task.output, task.prompts)
    start = time.perf_counter()
    result = segment_image(
        predictor, scan.image, task.prompts, plane=scan.axis, overlap=request.overlap,
        interpolate=request.interpolate, previous=opened.previous, progress=progress,
        cache=EmbeddingCache(request.beside.cache) if request.beside.cache else None,
    )  # fmt: skip
    mask = result.mask
    for how in request.clean:
        from medsam.imaging.cleaning import clean  # brings scipy, which most runs do without

        mask = replace(mask, labels=clean(mask.labels, how, mask.grid.spacing_mm))
    if task.overlay is not None:
        write_picture(task.overlay, scan.sliced, mask.move_axis(scan.axis), task.prompts)
    only = _only_slice(task.prompts)
    if task.output.suffix.lower() in FLAT and only is not None and scan.sliced.grid.shape[0] > 1:
        mask = mask.move_axis(scan.axis).slice_at(only)
    series = choose_series_of_reference(request.file.series, opened.path, request.mask.reference)
    write_mask(mask, task.output, reference=opened.reference, format=_format(task, request), series=series)
    store_result(task.source, task.output, reference=request.mask.reference)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    source = redact(task.source)
    name = predictor.manifest.score_name
    return MaskRun(source, task.output, task.prompts, result.scores, seconds, count_voxels(mask), score_name=name)


def _check_writable(
    task: SegmentTask, path: Path, reference: Path, request: SegmentRequest, *, grid: Grid | None = None
) -> None:
    series = choose_series_of_reference(request.file.series, path, request.mask.reference)
    check_writable(task.output, reference=reference, format=_format(task, request), series=series, grid=grid)


def _format(task: SegmentTask, request: SegmentRequest) -> str | None:
    """The format by name where .dcm leaves it open; the suffix tells it everywhere else."""
    name = request.mask.format
    return name if name != "dcm" and task.output.suffix.lower() == ".dcm" else None


def count_voxels(mask: Mask) -> dict[int, int]:
    """Label id to number of voxels, for the labels that are there."""
    ids, counts = np.unique(mask.labels, return_counts=True)
    return {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i}
