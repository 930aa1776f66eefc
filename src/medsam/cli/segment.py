"""`medsam segment`: images and prompts in, masks out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import (
    EngineFlags,
    FileFlags,
    IntensityFlags,
    MaskFlags,
    ModelFlags,
    Output,
    PlaneFlag,
    RunFlags,
    Switch,
    ThisTerminal,
)
from medsam.jobs.options import EngineOptions, FileOptions, IntensityOptions, MaskOptions, ModelOptions, RunOptions

if TYPE_CHECKING:
    from medsam.jobs.record import MaskRun

Texts = Annotated[list[str], Parameter(negative=(), allow_leading_hyphen=True)]


def segment(
    inputs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Output,
    box: Texts = [],  # noqa: B006 - cyclopts reads it
    point: Texts = [],  # noqa: B006
    prompts: Path | None = None,
    slice: int | None = None,
    plane: PlaneFlag = None,
    interpolate: Switch = False,
    from_mask: Path | None = None,
    overlap: Literal["later", "certain"] = "later",
    clean: Annotated[list[Literal["largest", "fill", "smooth"]], Parameter(negative=())] = [],  # noqa: B006
    name: Texts = [],  # noqa: B006
    color: Texts = [],  # noqa: B006
    code: Texts = [],  # noqa: B006
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    mask: MaskFlags = MaskOptions(),
    beside: RunFlags = RunOptions(),
    model: ModelFlags = ModelOptions(),
    engine: EngineFlags = EngineOptions(),
    terminal: ThisTerminal,
) -> int:
    """Segment images from boxes and points.

    Args:
        inputs: Image files, DICOM folders, folders of images, globs, or series of a PACS (dicomweb://...).
        output: A file (.png, .nii.gz, .nrrd, .mha, .npz, .json for COCO, .dcm, ...) for one input; a folder for several.
        box: x0,y0,x1,y1 in pixels, again and again; box i becomes label i. Six numbers x0,y0,z0,x1,y1,z1 make a 3D box.
        point: x,y inside the object, or x,y,0 outside it, again and again; all points are one object, or refine the one box.
        prompts: JSON or CSV file of prompts, for many objects, slices or images.
        slice: The slice the boxes and points were drawn on, from 0; needed for volumes.
        interpolate: Segment the slices between the boxes of one label too.
        from_mask: A mask of the image to correct: labels with a prompt are made anew on its slice, clicks start from what is there.
        overlap: Where objects meet, the later prompt wins, or the more certain one.
        clean: Afterwards keep the largest part of each label, fill its holes, or smooth its edge; again for several.
        name: Of the objects, in the order of their labels, again and again; or LABEL=NAME.
        color: Of the objects, as #ff8800 or 255,136,0, in the order of their labels, again and again; or LABEL=COLOR.
        code: What the objects are, as SCT:10200004:Liver, in the same order; or LABEL=CODE. Written into DICOM and .seg.nrrd.
    """
    from medsam.jobs.segment import segment as run
    from medsam.jobs.segment_plan import SegmentRequest

    request = SegmentRequest(
        inputs=tuple(inputs), output=output, boxes=tuple(box), points=tuple(point), prompts_file=prompts, slice=slice,
        plane=plane, interpolate=interpolate, from_mask=from_mask, overlap=overlap, clean=tuple(clean),
        names=tuple(name), colors=tuple(color), codes=tuple(code), file=file, intensity=intensity, mask=mask,
        beside=beside, model=model, engine=engine,
    )  # fmt: skip
    with terminal.progress("segment") as progress:
        result = run(request, progress=progress)
    answer = {
        "masks": [made.as_row() for made in result.runs], "kept": [str(path) for path in result.kept],
        "failed": dict(result.failures),
    }  # fmt: skip
    done = f"{len(result.runs)} masks written, {len(result.failures)} failed"
    terminal.report(answer, done if result.several else "\n".join(map(_line, result.runs)))
    return 1 if result.failures else 0


def _line(made: MaskRun) -> str:
    sizes = ", ".join(f"label {label}: {count} voxels" for label, count in made.voxels.items()) or "the mask is empty"
    known = [f"{score:.2f}" for score in made.scores if score is not None]
    scores = f"; {made.score_name} {', '.join(known)}" if known else ""
    return f"{made.output}: {sizes}{scores}; {made.seconds['total']:.2f} s"
