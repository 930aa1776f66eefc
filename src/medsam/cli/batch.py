"""One or many images through one loaded model: plan, segment, write, go on where a stopped run stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medsam.cli.outputs import refuse_overwriting
from medsam.cli.picture import check_picture, write_picture
from medsam.cli.plan import Options, Task, plan
from medsam.cli.record import Run, write_record
from medsam.cli.slide import check_slide, is_slide, segment_slide_file
from medsam.errors import MedsamError, OutputError
from medsam.imaging.image import Image, Mask
from medsam.imaging.intensity import normalize
from medsam.imaging.prompts import Prompt
from medsam.io.formats import check_writable, read_image, write_mask

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor

FLAT = (".png", ".json")  # hold one slice


def run_batch(options: Options) -> int:
    """Segment all inputs; 0 if all went well, 1 if some failed (each named on standard error).

    Raises:
        MedsamError: the one input failed, or the run cannot start.
    """
    tasks = plan(options)
    refuse_overwriting(
        [*(path for task in tasks for path in (task.output, task.overlay)), options.record],
        [*(task.source for task in tasks), options.prompts_file, options.reference],
    )
    for task in tasks:
        check_picture(task.overlay)
        check_writable(task.output, reference=options.reference or task.source, format=_format(task, options))
    several = len(tasks) > 1
    open_tasks = [task for task in tasks if options.overwrite or not several or not task.output.exists()]
    skipped = len(tasks) - len(open_tasks)
    if skipped:
        print(f"{skipped} of {len(tasks)} masks are there already (--overwrite makes them again)", file=sys.stderr)
    images = _checked_first(open_tasks, options) if not several else None
    predictor = _load(options) if open_tasks else None
    runs: list[Run] = []
    failed = 0
    try:
        with _progress(len(open_tasks), several) as advance:
            for task in open_tasks:
                assert predictor is not None  # noqa: S101 - loaded whenever a task is open
                try:
                    runs.append(_segment_one(predictor, task, options, images))
                except MedsamError as error:
                    if not several:
                        raise
                    failed += 1
                    print(f"{task.source}: {error}", file=sys.stderr)
                advance()
    finally:  # an interrupted run keeps its masks, and so the record of how they were made
        if options.record is not None and predictor is not None and runs:
            kept = [task.output for task in tasks if task not in open_tasks] if several else []
            write_record(options.record, predictor, runs, options.window, volume=options.volume, kept=kept)
    _summary(runs, failed, several)
    return 1 if failed else 0


def _checked_first(tasks: Sequence[Task], options: Options) -> dict[Path, Image]:
    """Read the one image before the model is loaded, so that bad input is refused at once."""
    images = {}
    for task in tasks:
        if is_slide(task.source, task.output):
            check_slide(task.output, task.prompts)
            continue
        image = _read(task.source, options)
        _validate(task.prompts, image)
        _refuse_flat(task, image.grid.shape[0])
        images[task.source] = image
    return images


def _stored(source: Path, options: Options) -> Image:
    return read_image(
        source, modality=options.modality, series=options.series, geometry=options.geometry, volume=options.volume
    )


def _read(source: Path, options: Options) -> Image:
    image = _stored(source, options)
    if options.plane is not None:
        image = image.moved_axis(image.grid.axis_named(options.plane))
    return normalize(image, window=options.window)


def _validate(prompts: Sequence[Prompt], image: Image) -> None:
    from medsam.imaging.boxes import validate_boxes, validate_points
    from medsam.imaging.prompts import place

    depth, height, width = image.grid.shape
    for prompt in prompts:
        place(prompt, depth)
        if prompt.box is not None:
            validate_boxes([prompt.box], height, width)
        if prompt.points:
            validate_points(prompt.points, height, width)


def _refuse_flat(task: Task, depth: int) -> None:
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


def _load(options: Options) -> Predictor:
    from medsam.inference.predictor import load_predictor

    return load_predictor(options.model, device=options.device, precision=options.precision, runtime=options.runtime)


def _segment_one(predictor: Predictor, task: Task, options: Options, images: dict[Path, Image] | None) -> Run:
    from medsam.inference.prompted import segment_prompts

    if is_slide(task.source, task.output):
        return segment_slide_file(predictor, task.source, task.output, task.prompts)
    start = time.perf_counter()
    image = (images or {}).get(task.source) or _read(task.source, options)
    _refuse_flat(task, image.grid.shape[0])
    result = segment_prompts(predictor, image, task.prompts)
    if task.overlay is not None:
        write_picture(task.overlay, image, result.mask, task.prompts)
    mask = _on_the_files_grid(result.mask, task, options)
    reference = options.reference or task.source
    series = options.series if options.reference is None else None  # it names a series of the input
    write_mask(mask, task.output, reference=reference, format=_format(task, options), series=series)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    return Run(task.source, task.output, task.prompts, result.scores, seconds, _voxels(mask))


def _format(task: Task, options: Options) -> str | None:
    """The format by name where .dcm leaves it open; the suffix tells it everywhere else."""
    return options.format if options.format != "dcm" and task.output.suffix.lower() == ".dcm" else None


def _on_the_files_grid(mask: Mask, task: Task, options: Options) -> Mask:
    """The mask as its file takes it: of a volume on the image's own grid, or the one slice as it was seen."""
    only = _only_slice(task.prompts)
    if task.output.suffix.lower() in FLAT and only is not None and mask.grid.shape[0] > 1:
        return mask.slice_at(only)
    if options.plane is None:
        return mask
    return mask.restored_axis(_stored(task.source, options).grid.axis_named(options.plane))


def _voxels(mask: Mask) -> dict[int, int]:
    import numpy as np

    ids, counts = np.unique(mask.labels, return_counts=True)
    return {int(i): int(n) for i, n in zip(ids, counts, strict=True) if i}


class _progress:
    """A bar on a terminal, nothing for a single image."""

    def __init__(self, total: int, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("segment"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=Console(stderr=True), disable=not shown)
        self._task = self._bar.add_task("segment", total=total)

    def __enter__(self) -> Callable[[], None]:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _summary(runs: Sequence[Run], failed: int, several: bool) -> None:
    for run in runs if not several else ():
        parts = (
            ", ".join(f"label {label}: {count} voxels" for label, count in run.voxels.items()) or "the mask is empty"
        )
        print(f"{run.output}: {parts} in {run.seconds['total']:.2f} s")
    if several:
        print(f"{len(runs)} masks written, {failed} failed")
