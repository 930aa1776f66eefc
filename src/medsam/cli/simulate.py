"""`medsam simulate`: a simulated reader marks an expert mask, the pipeline runs, and the result is scored."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from medsam.cli.flags import BoxFlags, IntensityFlags, ModelFlags, Output, Overwrite, PlaneFlag, Switch, ThisTerminal
from medsam.imaging.box_options import BoxOptions
from medsam.jobs.options import IntensityOptions, ModelOptions

Numbers = Annotated[list[int], Parameter(negative=(), consume_multiple=True)]


def simulate(
    pairs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Output,
    every: Numbers = [3, 5, 10],  # noqa: B006 - cyclopts reads it
    whole: Switch = False,
    labels: Numbers = [],  # noqa: B006
    jitter_mm: float = 1.0,
    seed: int = 0,
    widest: Switch = False,
    threshold: float = 0.9,
    seconds: str = "60,10,3,30",
    plane: PlaneFlag = None,
    cache: Path | None = None,
    overwrite: Overwrite = False,
    boxes: BoxFlags = BoxOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    model: ModelFlags = ModelOptions(),
    terminal: ThisTerminal,
) -> None:
    """Draw markers as a reader would, run the pipeline, and report Dice, NSD and slices to correct.

    Minutes come from a time model with assumed seconds; they are no measurement.

    Args:
        pairs: SCAN EXPERT_MASK, files or series of a PACS, again and again; for an npz that holds both, name it twice.
        output: Folder for simulate.csv, simulate.json, simulate.md, a mask and a picture per scan and distance.
        every: Distances of marked slices.
        whole: Take all labels of a mask together as one object.
        labels: Take only these labels of a mask.
        jitter_mm: Standard deviation of the reader's hand; in pixels where the spacing is unknown.
        seed: Of the reader's hand.
        widest: The reader also marks the slice with the longest axis, as for a RECIST measurement.
        threshold: A slice below this Dice needs correction.
        seconds: Time model: seconds to outline a slice by hand, to mark one, to check one, to correct one.
        cache: Folder for embeddings: every distance after the first then costs little.
    """
    from medsam.jobs.simulate import SimulateRequest, parse_times
    from medsam.jobs.simulate import simulate as run

    request = SimulateRequest(
        pairs=tuple(pairs), output=output, every=tuple(every), whole=whole, labels=tuple(labels), jitter_mm=jitter_mm,
        seed=seed, widest=widest, threshold=threshold, times=parse_times(seconds), plane=plane, cache=cache,
        boxes=boxes, intensity=intensity, model=model, overwrite=overwrite,
    )  # fmt: skip
    with terminal.progress("simulate") as progress:
        rows, table = run(request, progress=progress)
    terminal.answer([asdict(row) for row in rows], table)
