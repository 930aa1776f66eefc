"""`medsam annotate`: a scan and a few axis lines in, a 3D mask out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import (
    BoxFlags,
    EngineFlags,
    FileFlags,
    IntensityFlags,
    MaskFlags,
    ModelFlags,
    PlaneFlag,
    RunFlags,
    Switch,
    ThisTerminal,
)
from medsam.imaging.box_options import BoxOptions
from medsam.jobs.options import (
    EngineOptions,
    FileOptions,
    IntensityOptions,
    MaskOptions,
    ModelOptions,
    RunOptions,
)

if TYPE_CHECKING:
    from medsam.jobs.annotate import AnnotateResult


def annotate(
    scan: str,
    /,
    *,
    markers: Annotated[list[Path] | None, Parameter(negative=())] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    objects: Literal["labels", "strokes"] = "labels",
    one_object: Switch = False,
    port: int = 8421,
    plane: PlaneFlag = None,
    boxes: BoxFlags = BoxOptions(),
    file: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    mask: MaskFlags = MaskOptions(),
    beside: RunFlags = RunOptions(),
    model: ModelFlags = ModelOptions(),
    engine: EngineFlags = EngineOptions(),
    terminal: ThisTerminal,
) -> None:
    """Turn long and short axis lines drawn on some slices into a mask on all slices between them.

    Without --markers it opens the scan in the browser, as medsam open does, where the lines are drawn.

    Args:
        scan: Image file or DICOM folder; or dicomweb://host/dicom-web/studies/.../series/..., where a .dcm output is stored too.
        markers: Label volume, 3D Slicer .mrk.json, CSV or JSON of line ends, DICOM SR, or npz with recist; again and again for several, which are joined.
        output: Mask to write; the suffix chooses the format (.nii.gz, .nrrd, .seg.nrrd, .mha, .npz, .dcm, ...).
        objects: Every label is an object, or every stroke is one until strokes overlap from slice to slice.
        one_object: All lines are drawn around one object, whatever the files say.
        port: Where the page is that opens without --markers.
    """
    from medsam.errors import PromptError

    if not markers and output is None:
        from medsam.cli.open import open_

        return open_(scan, port=port, file=file, intensity=intensity, model=model, terminal=terminal)
    if not markers or output is None:
        given, missing = ("--output", "--markers") if not markers else ("--markers", "--output")
        raise PromptError(
            f"{given} without {missing}", expected="both for a mask from files, or neither",
            fix=f"pass {missing} too; or leave {given} out to draw in the browser",
        )  # fmt: skip
    from medsam.jobs.annotate import AnnotateRequest
    from medsam.jobs.annotate import annotate as run

    request = AnnotateRequest(
        scan=scan, markers=tuple(markers), output=output, objects="one" if one_object else objects, plane=plane, boxes=boxes, file=file,
        intensity=intensity, mask=mask, beside=beside, model=model, engine=engine,
    )  # fmt: skip
    with terminal.progress("annotate") as progress:
        result = run(request, progress=progress)
    terminal.report({"masks": [result.run.as_row()]}, "\n".join(_lines(result)))


def _lines(result: AnnotateResult) -> list[str]:
    lines = []
    for label, scores in result.scores.items():
        lowest = min(scores, key=lambda k: scores[k])
        lines.append(
            f"object {label}: {result.run.voxels.get(label, 0)} voxels on slices {min(scores)} to {max(scores)}, "
            f"{result.marked[label]} of {len(scores)} marked; lowest {result.run.score_name} {scores[lowest]:.2f} on slice {lowest}"
        )
    seconds = result.run.seconds
    phases = f"encode {seconds['encode']:.1f}, decode {seconds['decode']:.1f}"
    return [*lines, f"{result.run.output}: {seconds['total']:.1f} s ({phases})"]
