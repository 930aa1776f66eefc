"""`medsam simulate`: a simulated reader marks an expert mask, the pipeline runs, and the result is scored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def simulate(
    pairs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    every: Annotated[list[int], Parameter(negative=(), consume_multiple=True)] = [3, 5, 10],  # noqa: B006 - cyclopts reads it
    whole: Annotated[bool, Parameter(negative=())] = False,
    labels: Annotated[list[int], Parameter(negative=(), consume_multiple=True)] = [],  # noqa: B006
    jitter_mm: float = 1.0,
    seed: int = 0,
    widest: Annotated[bool, Parameter(negative=())] = False,
    threshold: float = 0.9,
    seconds: str = "60,10,3,30",
    interpolation: Literal["linear", "legacy"] = "linear",
    margin_px: float | None = None,
    plane: Literal["axial", "coronal", "sagittal"] | None = None,
    modality: str | None = None,
    window: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    model: str | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32",
    runtime: Literal["auto", "torch", "openvino"] = "auto",
    cache: Path | None = None,
) -> None:
    """Draw markers as a reader would, run the pipeline, and report Dice, NSD and slices to correct.

    Minutes come from a time model with assumed seconds; they are no measurement.

    Parameters
    ----------
    pairs
        SCAN EXPERT_MASK, again and again; for an npz that holds both, name it twice.
    output
        Folder for simulate.csv, simulate.json, simulate.md, a mask and a picture per scan and distance.
    every
        Distances of marked slices.
    whole
        Take all labels of a mask together as one object.
    labels
        Take only these labels of a mask.
    jitter_mm
        Standard deviation of the reader's hand; in pixels where the spacing is unknown.
    seed
        Of the reader's hand.
    widest
        The reader also marks the slice with the longest axis, as for a RECIST measurement.
    threshold
        A slice below this Dice needs correction.
    seconds
        Time model: seconds to outline a slice by hand, to mark one, to check one, to correct one.
    interpolation
        Of the boxes between marked slices.
    margin_px
        Added to every side of a box; 5 without it, 0 for the bare rectangle over the lines.
    plane
        The plane marked; the file's own storage order without it.
    modality
        CT, MR, ... where the file does not say.
    window
        CT window: soft-tissue, lung, brain, bone, ... or width,level.
    model
        Catalog name or weights file; the default model without it.
    device
        cpu, cuda or mps; the best one there without it.
    precision
        Arithmetic of the image encoder.
    runtime
        What runs the image encoder.
    cache
        Folder for embeddings: every distance after the first then costs little.
    """
    from medsam.annotation.interpolation import Interpolation
    from medsam.cli.simulation import Study, parse_times, run_study
    from medsam.inference.predictor import Predictor, load_predictor

    study = Study(
        pairs=tuple(pairs), every=tuple(every), whole=whole, labels=tuple(labels), jitter_mm=jitter_mm, seed=seed, widest=widest,
        threshold=threshold, times=parse_times(seconds), boxes=Interpolation(interpolation, margin_px), plane=plane,
        modality=modality, window=window, cache=cache,
    )  # fmt: skip

    def load() -> Predictor:
        return load_predictor(model, device=device, precision=precision, runtime=runtime)

    print(run_study(study, output, load), end="")
