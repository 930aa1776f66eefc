"""What `medsam segment` is to do: the flags, the images among the inputs, their prompts and the names of their masks."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from medsam.errors import InputFileError, OutputError, PromptError
from medsam.imaging.prompts import Prompt, parse_box, parse_point, prompts_from_drawing
from medsam.io.formats import FORMATS
from medsam.io.limits import head
from medsam.io.prompts import read_prompts


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
    volume: int | None
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
