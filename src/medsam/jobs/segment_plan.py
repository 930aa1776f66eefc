"""What a segmentation is to do: the request, the images among its inputs, their prompts and the names of their masks."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medsam.errors import InputFileError, OutputError, PromptError
from medsam.imaging.image import Grid
from medsam.imaging.prompts import Prompt, parse_box, parse_point, prompts_from_drawing
from medsam.io.dicom.pacs_address import is_address
from medsam.io.limits import read_head
from medsam.io.prompts import needs_grid, read_prompts
from medsam.io.suffixes import find_format, find_stem, find_suffix, find_suffix_of_format, list_suffixes
from medsam.jobs.inputs import Scan, local_path, read_scan
from medsam.jobs.options import (
    EngineOptions,
    FileOptions,
    IntensityOptions,
    MaskOptions,
    ModelOptions,
    Plane,
    RunOptions,
)
from medsam.jobs.segment_names import name_prompts

if TYPE_CHECKING:
    from medsam.imaging.cleaning import Cleaning  # brings scipy


@dataclass(frozen=True)
class SegmentRequest:
    """What to segment, from what, and where the masks go.

    Args:
        inputs: Image files, DICOM folders, folders of images, globs or addresses of a PACS.
        output: A file for one input; a folder for several.
        boxes: Each x0,y0,x1,y1 or x0,y0,z0,x1,y1,z1.
        points: Each x,y or x,y,0.
        prompts_file: In place of boxes and points.
        slice: Of boxes and points that name none.
        plane: The slices that are meant.
        interpolate: Whether boxes of one label reach over the slices between them.
        from_mask: A mask of the image to correct.
        overlap: Which object wins where two meet.
        clean: What is done to every label afterwards, in this order.
        names: Of the objects, in the order of their labels, or LABEL=NAME.
        colors: The same with colours.
        codes: The same with coded meanings, each SCHEME:VALUE:MEANING.
        file: Which image of a file.
        intensity: Modality and window.
        mask: How the mask is written.
        beside: What is written beside it.
        model: What segments.
        engine: Where it runs.
    """

    inputs: tuple[Path, ...]
    output: Path
    boxes: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    prompts_file: Path | None = None
    slice: int | None = None
    plane: Plane | None = None
    interpolate: bool = False
    from_mask: Path | None = None
    overlap: Literal["later", "certain"] = "later"
    clean: tuple[Cleaning, ...] = ()
    names: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    file: FileOptions = FileOptions()
    intensity: IntensityOptions = IntensityOptions()
    mask: MaskOptions = MaskOptions()
    beside: RunOptions = RunOptions()
    model: ModelOptions = ModelOptions()
    engine: EngineOptions = EngineOptions()


@dataclass(frozen=True)
class SegmentTask:
    """One image to segment and where its mask goes."""

    source: Path
    output: Path
    prompts: tuple[Prompt, ...]
    overlay: Path | None


@dataclass(frozen=True)
class SegmentPlan:
    """All images of a request.

    Args:
        tasks: One for each image that has a prompt.
        folder: Whether the masks go into a folder, where a stopped run can go on.
        scan: The one image, where its prompts could not be read without it.
    """

    tasks: tuple[SegmentTask, ...]
    folder: bool
    scan: Scan | None = None


@contextmanager
def open_scan_of_markups(request: SegmentRequest) -> Iterator[Scan | None]:
    """Read the one image whose grid 3D Slicer's prompts lie on; None where the prompts need no grid.

    Raises:
        MedsamError: as local_path and read_scan.
    """
    sources = _sources(request.inputs)
    if request.prompts_file is None or not needs_grid(request.prompts_file) or len(sources) != 1:
        yield None
        return
    with local_path(sources[0]) as path:
        yield read_scan(path, request.file, request.intensity, request.plane)


def plan_segmentation(request: SegmentRequest, scan: Scan | None = None) -> SegmentPlan:
    """Pair every input with its prompts and its output.

    Args:
        request: What to do.
        scan: From open_scan_of_markups.

    Raises:
        InputFileError: nothing to read.
        OutputError: several inputs but the output is not a folder.
        PromptError: no prompts, or prompts for an image that is not among the inputs.
    """
    sources = _sources(request.inputs)
    _refuse_masks_among_images(request, sources)
    drawn, filed = _prompts(request, None if scan is None else scan.sliced.grid)
    _refuse_strangers(filed, sources)
    folder = len(sources) > 1 or request.output.is_dir() or not request.output.suffix
    if len(sources) > 1 and request.output.suffix and not request.output.is_dir():
        raise OutputError(
            f"{len(sources)} inputs and the one output {request.output}", expected="a folder", fix="pass -o FOLDER/"
        )
    if not folder:
        _refuse_other_format(request)
    outputs = _output_names(sources, request) if folder else [request.output]
    tasks = []
    for source, output in zip(sources, outputs, strict=True):
        prompts = drawn or [p for p in filed if p.image is None or p.image in (source.name, str(source))]
        overlay = request.beside.overlay
        if overlay is not None and folder and (len(sources) > 1 or not overlay.suffix):
            overlay = overlay / f"{find_stem(output)}.png"
        if prompts:
            named = name_prompts(prompts, request.names, request.colors, request.codes)
            tasks.append(SegmentTask(source, output, named, overlay))
    return SegmentPlan(tuple(tasks), folder, scan)


def _prompts(request: SegmentRequest, grid: Grid | None) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts drawn on the command line, and those of a file; the one or the other."""
    drawn = prompts_from_drawing(
        [parse_box(t) for t in request.boxes], [parse_point(t) for t in request.points], request.slice
    )
    filed = read_prompts(request.prompts_file, grid) if request.prompts_file else []
    filed = [replace(p, slice=request.slice) if p.box_3d is None and p.slice is None else p for p in filed]
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
    return drawn, filed


def _refuse_other_format(request: SegmentRequest) -> None:
    """A format that contradicts the suffix of the one output; .dcm leaves open which DICOM object is meant."""
    name = request.output.name.lower()
    if request.mask.format is None or name.endswith(".dcm"):
        return
    wanted = find_suffix_of_format(request.mask.format)
    row = find_format(f"a{wanted}", "write_mask")
    if row is None or find_suffix(request.output, "write_mask") not in row.suffixes:
        raise OutputError(
            f"{request.output} with --format {request.mask.format}",
            expected=f"a name that ends in {wanted}",
            fix="rename the output, or leave --format out",
        )


def _sources(inputs: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for item in inputs:
        if any(character in str(item) for character in "*?[") and not is_address(item) and not item.exists():
            matches = [Path(match) for match in sorted(glob.glob(str(item), recursive=True))]
            if not matches:
                raise InputFileError(
                    f"{item} matches no file",
                    expected="a glob that matches images",
                    fix="quote it and check the folder",
                )
            found.extend(match for match in matches if match.is_file())
        elif is_address(item):
            found.append(item)
        elif item.is_dir():
            found.extend(_images_or_series(item))
        else:
            found.append(item)
    return list(dict.fromkeys(found))


def _images_or_series(folder: Path) -> list[Path]:
    """The images of a folder; the folder itself where it is a DICOM series."""
    images = _images_in(folder)
    if images and any(read_head(path, 132)[128:] == b"DICM" for path in folder.iterdir() if path.is_file()):
        raise InputFileError(
            f"{folder} holds DICOM files and {images[0].name}",
            expected="a DICOM series or images, not both",
            fix="move the others out, or name the files meant",
        )
    return images or [folder]


def _refuse_masks_among_images(request: SegmentRequest, sources: Sequence[Path]) -> None:
    """A folder that is read again later must not fill up with masks."""
    for folder in request.inputs:
        if folder.is_dir() and request.output.is_dir() and folder.samefile(request.output):
            what = "the DICOM series" if folder in sources else "the images"
            raise OutputError(
                f"masks are to lie in {folder} among {what}",
                expected="another folder",
                fix="pass -o FOLDER/ elsewhere, so that the next run does not read masks as images",
            )


def _images_in(folder: Path) -> list[Path]:
    images = set(list_suffixes("read_image")) - set(list_suffixes(name="dicom"))
    return sorted(path for path in folder.iterdir() if path.is_file() and find_suffix(path, "read_image") in images)


def _refuse_strangers(prompts: Sequence[Prompt], sources: Sequence[Path]) -> None:
    known = {name for source in sources for name in (source.name, str(source))}
    strangers = sorted({p.image for p in prompts if p.image is not None} - known)
    if strangers:
        raise PromptError(
            f"prompts for {', '.join(strangers[:3])}, not among the inputs",
            expected="file names of the inputs",
            fix="correct the image column",
        )


def _output_names(sources: Sequence[Path], request: SegmentRequest) -> list[Path]:
    """A mask per source in the output folder; sources of the same stem keep their whole name apart."""
    stems = [find_stem(source) for source in sources]
    names = [
        stem if stems.count(stem) == 1 else source.name.replace(".", "_")
        for stem, source in zip(stems, sources, strict=True)
    ]
    if len(set(names)) < len(names):
        names = ["_".join(source.parts[-2:]).replace(".", "_") for source in sources]
    return [
        request.output / f"{name}{_suffix(source, request.mask.format)}"
        for name, source in zip(names, sources, strict=True)
    ]


def _suffix(source: Path, format_name: str | None) -> str:
    if format_name is not None:
        return find_suffix_of_format(format_name)
    flat = source.name.lower().endswith((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"))
    return ".png" if flat else ".nii.gz"
