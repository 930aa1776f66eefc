"""`medsam evaluate`: a model measured on folders of images with expert masks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def evaluate(
    folders: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    model: str | None = None,
    split: str = "val",
    noise_px: float = 20.0,
    noise: Literal["enlarge", "both"] = "enlarge",
    prompt: Literal["box", "point"] = "box",
    seed: int = 0,
    max_targets: int = 20,
    against: Path | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16", "fp16", "int8"] = "fp32",
    runtime: Literal["auto", "torch", "openvino"] = "auto",
) -> int:
    """Measure a model on images with expert masks: Dice and NSD per target, per data set and per modality.

    Parameters
    ----------
    folders
        Data set folders: images/, masks/ and index.csv (docs/evaluation.md).
    output
        Folder for rows.csv, rows.parquet, summary.json and summary.md; a stopped run goes on there.
    model
        Catalog name or weights file; the default model without it.
    split
        Rows of index.csv to take; "all" takes every row.
    noise_px
        Largest move of a box side, in pixels of a 1024 x 1024 picture.
    noise
        Move sides outwards only, or either way.
    prompt
        A noisy box, or one click on the pixel deepest inside the target.
    seed
        Of the noise and of the choice of targets.
    max_targets
        Most targets of one image, chosen at random; 0 takes all.
    against
        Folder of an evaluation of another model: adds comparison.md, on the targets that both have.
    device
        cpu, cuda or mps; the best one there without it.
    precision
        Arithmetic of the image encoder.
    runtime
        What runs the image encoder.
    """
    from rich.console import Console
    from rich.progress import track

    from medsam.errors import DataError
    from medsam.evaluation.evaluate import Protocol, evaluate_sample, read_samples
    from medsam.evaluation.report import ScoreFile, comparison, markdown, read_scores, write_report
    from medsam.inference.predictor import load_predictor
    from medsam.io.atomic import replacing

    taken = None if split == "all" else split
    protocol = Protocol(
        split=taken, noise_px=noise_px, noise=noise, seed=seed, max_targets=max_targets or None, prompt=prompt
    )
    other = None if against is None else read_scores(against)
    samples = [sample for folder in folders for sample in read_samples(folder, protocol.split)]
    predictor = load_predictor(model, device=device, precision=precision, runtime=runtime)
    weights = predictor.manifest.sha256 or predictor.weights
    file = ScoreFile(output, predictor.manifest.name, weights, protocol)
    for sample in track(samples, "evaluate", console=Console(stderr=True)):
        if not file.has(sample.dataset, sample.image.name):
            file.add(evaluate_sample(predictor, sample, protocol))
    if not file.scores:
        raise DataError("no image has a target", expected="at least one", fix="check the masks and --split")
    write_report(output, file.scores)
    print(markdown(file.scores), end="")
    if other is not None:
        table = comparison(other, file.scores)
        with replacing(output / "comparison.md") as temporary:
            temporary.write_text(table, encoding="utf-8")
        print(f"\n{table}", end="")
    return 0
