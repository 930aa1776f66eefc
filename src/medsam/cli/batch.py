"""One or many images through one loaded model: plan, segment, write, go on where a stopped run stopped."""

from __future__ import annotations

import glob
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medsam.cli.outputs import refuse_overwriting
from medsam.cli.picture import check_picture, write_picture
from medsam.cli.record import Run, write_record
from medsam.cli.slide import check_slide, is_slide, segment_slide_file
from medsam.errors import InputFileError, MedsamError, OutputError, PromptError
from medsam.imaging.image import Image, Mask
from medsam.imaging.intensity import normalize
from medsam.imaging.prompts import Prompt, parse_box, parse_point, prompts_from_drawing
from medsam.io.formats import FORMATS, check_writable, read_image, write_mask
from medsam.io.limits import head
from medsam.io.prompts import read_prompts

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor

FLAT = (".png", ".json")  # hold one slice


@dataclass(frozen=True)
class Options:
    """The flags of `medsam segment`, as given."""

    inputs: tuple[Path, ...]
    output: Path
    boxes: tuple[str, ...]
    points: tuple[str, ...]
    prompts_file: Path | None
    slice: int | None
    plane: str | None
    modality: str | None
    window: str | None
    model: str | None
    device: str | None
    precision: Literal["fp32", "bf16", "fp16", "int8"]
    runtime: Literal["auto", "torch", "openvino"]
    format: str | None
    reference: Path | None
    series: str | None
    geometry: Literal["refuse", "resample"]
    overlay: Path | None
    record: Path | None
    overwrite: bool


@dataclass(frozen=True)
class Task:
    """One image to segment and where its mask goes."""

    source: Path
    output: Path
    prompts: tuple[Prompt, ...]
    overlay: Path | None


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
            write_record(options.record, predictor, runs, options.window, kept=kept)
    _summary(runs, failed, several)
    return 1 if failed else 0


def plan(options: Options) -> list[Task]:
    """Pair every input with its prompts and its output.

    Raises:
        InputFileError: nothing to read.
        OutputError: several inputs but the output is not a folder.
        PromptError: no prompts, or prompts for an image that is not among the inputs.
    """
    sources = _sources(options.inputs)
    _refuse_masks_among_images(options, sources)
    drawn = prompts_from_drawing(
        [parse_box(t) for t in options.boxes], [parse_point(t) for t in options.points], options.slice
    )
    filed = (
        [
            replace(p, slice=options.slice if p.slice is None else p.slice) if p.box_3d is None else p
            for p in read_prompts(options.prompts_file)
        ]
        if options.prompts_file
        else []
    )
    if not drawn and not filed:
        raise PromptError(
            "no prompts",
            expected="a box, a point or a file of prompts",
            fix="pass --box x0,y0,x1,y1, --point x,y or --prompts FILE",
        )
    if drawn and filed:
        raise PromptError(
            "--prompts together with --box or --point",
            expected="one or the other",
            fix="write all of them into the file",
        )
    _refuse_strangers(filed, sources)
    folder = len(sources) > 1 or options.output.is_dir() or not options.output.suffix
    if len(sources) > 1 and options.output.suffix and not options.output.is_dir():
        raise OutputError(
            f"{len(sources)} inputs and the one output {options.output}", expected="a folder", fix="pass -o FOLDER/"
        )
    if not folder:
        _refuse_other_format(options)
    outputs = _output_names(sources, options) if folder else [options.output]
    tasks = []
    for source, output in zip(sources, outputs, strict=True):
        prompts = tuple(drawn or [p for p in filed if p.image is None or p.image in (source.name, str(source))])
        one_picture = options.overlay is None or not folder or (len(sources) == 1 and options.overlay.suffix)
        overlay = (
            options.overlay if options.overlay is None or one_picture else options.overlay / f"{_stem(output)}.png"
        )
        if prompts:
            tasks.append(Task(source, output, prompts, overlay))
    return tasks


def _refuse_other_format(options: Options) -> None:
    """A format that contradicts the suffix of the one output; .dcm leaves open which DICOM object is meant."""
    name = options.output.name.lower()
    if options.format is None or name.endswith(".dcm"):
        return
    wanted = _suffix(options.output, options.format)
    if not any(wanted in row.suffixes and name.endswith(row.suffixes) for row in FORMATS if "write_mask" in row.can):
        raise OutputError(
            f"{options.output} with --format {options.format}",
            expected=f"a name that ends in {wanted}",
            fix="rename the output, or leave --format out",
        )


def _sources(inputs: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for item in inputs:
        if any(character in str(item) for character in "*?[") and not item.exists():
            matches = [Path(match) for match in sorted(glob.glob(str(item), recursive=True))]
            if not matches:
                raise InputFileError(
                    f"{item} matches no file",
                    expected="a glob that matches images",
                    fix="quote it and check the folder",
                )
            found.extend(match for match in matches if match.is_file())
        elif item.is_dir():
            found.extend(_images_or_series(item))
        else:
            found.append(item)
    return list(dict.fromkeys(found))


def _images_or_series(folder: Path) -> list[Path]:
    """The images of a folder; the folder itself where it is a DICOM series."""
    images = _images_in(folder)
    if images and any(head(path, 132)[128:] == b"DICM" for path in folder.iterdir() if path.is_file()):
        raise InputFileError(
            f"{folder} holds DICOM files and {images[0].name}",
            expected="a DICOM series or images, not both",
            fix="move the others out, or name the files meant",
        )
    return images or [folder]


def _refuse_masks_among_images(options: Options, sources: Sequence[Path]) -> None:
    """A folder that is read again later must not fill up with masks."""
    for folder in options.inputs:
        if folder.is_dir() and options.output.is_dir() and folder.samefile(options.output):
            what = "the DICOM series" if folder in sources else "the images"
            raise OutputError(
                f"masks are to lie in {folder} among {what}",
                expected="another folder",
                fix="pass -o FOLDER/ elsewhere, so that the next run does not read masks as images",
            )


def _images_in(folder: Path) -> list[Path]:
    suffixes = tuple(s for row in FORMATS if "read_image" in row.can and row.name != "dicom" for s in row.suffixes)
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith(suffixes))


def _refuse_strangers(prompts: Sequence[Prompt], sources: Sequence[Path]) -> None:
    known = {name for source in sources for name in (source.name, str(source))}
    strangers = sorted({p.image for p in prompts if p.image is not None} - known)
    if strangers:
        raise PromptError(
            f"prompts for {', '.join(strangers[:3])}, not among the inputs",
            expected="file names of the inputs",
            fix="correct the image column",
        )


def _output_names(sources: Sequence[Path], options: Options) -> list[Path]:
    """A mask per source in the output folder; sources of the same stem keep their whole name apart."""
    stems = [_stem(source) for source in sources]
    names = [
        stem if stems.count(stem) == 1 else source.name.replace(".", "_")
        for stem, source in zip(stems, sources, strict=True)
    ]
    if len(set(names)) < len(names):
        names = ["_".join(source.parts[-2:]).replace(".", "_") for source in sources]
    return [
        options.output / f"{name}{_suffix(source, options.format)}" for name, source in zip(names, sources, strict=True)
    ]


def _suffix(source: Path, format_name: str | None) -> str:
    if format_name is not None:
        for row in FORMATS:
            if "write_mask" in row.can and (
                format_name.partition(":")[0] == row.name or f".{format_name.lstrip('.')}" in row.suffixes
            ):
                suffix = f".{format_name.lstrip('.')}"
                return suffix if suffix in row.suffixes else next(iter(row.suffixes), ".dcm")  # rtstruct names none
        raise OutputError(
            f"format is {format_name!r}",
            expected="a format that masks can be written in",
            fix="choose png, nii.gz, nrrd, mha, npz, coco, ...",
        )
    flat = source.name.lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
    return ".png" if flat else ".nii.gz"


def _stem(path: Path) -> str:
    for suffix in sorted((s for row in FORMATS for s in row.suffixes), key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _checked_first(tasks: Sequence[Task], options: Options) -> dict[Path, Image]:
    """Read the one image before the model is loaded, so that bad input is refused at once."""
    images = {}
    for task in tasks:
        if is_slide(task.source, task.output):
            check_slide(task.output, task.prompts)
            continue
        image = _read(task.source, options)
        _validate(task.prompts, image)
        _refuse_flat(task.output, image.grid.shape[0] if options.plane is None else 1)
        images[task.source] = image
    return images


def _read(source: Path, options: Options) -> Image:
    image = read_image(source, modality=options.modality, series=options.series, geometry=options.geometry)
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


def _refuse_flat(output: Path, depth: int) -> None:
    if depth > 1 and output.suffix.lower() in FLAT:
        raise OutputError(
            f"a mask of {depth} slices for {output}",
            expected="one slice",
            fix="write .nii.gz, .nrrd, .mha or .tif instead; --overlay makes a picture",
        )


def _load(options: Options) -> Predictor:
    from medsam.inference.predictor import load_predictor

    return load_predictor(options.model, device=options.device, precision=options.precision, runtime=options.runtime)


def _segment_one(predictor: Predictor, task: Task, options: Options, images: dict[Path, Image] | None) -> Run:
    from medsam.inference.prompted import segment_prompts

    if is_slide(task.source, task.output):
        return segment_slide_file(predictor, task.source, task.output, task.prompts)
    start = time.perf_counter()
    image = (images or {}).get(task.source) or _read(task.source, options)
    result = segment_prompts(predictor, image, task.prompts)
    if task.overlay is not None:
        write_picture(task.overlay, image, result.mask, task.prompts)
    mask = _on_the_files_grid(result.mask, task.source, options)
    reference = options.reference or task.source
    series = options.series if options.reference is None else None  # it names a series of the input
    write_mask(mask, task.output, reference=reference, format=_format(task, options), series=series)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    return Run(task.source, task.output, task.prompts, result.scores, seconds, _voxels(mask))


def _format(task: Task, options: Options) -> str | None:
    """The format by name where .dcm leaves it open; the suffix tells it everywhere else."""
    return options.format if options.format != "dcm" and task.output.suffix.lower() == ".dcm" else None


def _on_the_files_grid(mask: Mask, source: Path, options: Options) -> Mask:
    if options.plane is None:
        return mask
    grid = read_image(source, modality=options.modality, series=options.series, geometry=options.geometry).grid
    return mask.restored_axis(grid.axis_named(options.plane))


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
