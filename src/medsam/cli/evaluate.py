"""`medsam evaluate`: models measured on images with expert masks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from medsam.cli.flags import IntensityFlags, ModelFlags, Output, ThisTerminal
from medsam.jobs.options import IntensityOptions, ModelOptions

SOME_FAILED = 3  # measured, and some targets count as failed


def evaluate(
    folders: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    output: Output,
    models: str | None = None,
    store: Path | None = None,
    split: str = "val",
    noise_px: float = 20.0,
    noise: Literal["enlarge", "both"] = "enlarge",
    prompt: str = "box",
    tasks: str | None = None,
    nsd: Literal["surface", "legacy"] = "surface",
    seed: int = 0,
    max_targets: int = 20,
    against: Path | None = None,
    timeout_seconds: float | None = None,
    keep_masks: bool = True,
    engine: Literal["local", "processes", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    intensity: IntensityFlags = IntensityOptions(),
    model: ModelFlags = ModelOptions(),
    terminal: ThisTerminal,
) -> int:
    """Measure models on images with expert masks: Dice, NSD and more per target, volume, data set and modality.

    Args:
        folders: Data sets of pictures and volumes: folders with index.csv, folders with images/ and masks/ of the same
            names, or CSV lists with the columns image and mask (docs/evaluation.md).
        output: Folder for rows.csv, rows.parquet, summary.json, summary.md, masks/ and, of volumes, volumes.csv and its
            like; a stopped run goes on there.
        models: Several, separated by commas, asked with the same prompts: catalog names, weights files,
            predictions:FOLDER (masks made elsewhere, by data set and sample), specialists:FOLDER (one in a folder of
            each modality's name) or module:function (gives a Segmenter). NAME=MODEL renames one.
        store: Training store whose pictures are taken too.
        split: Rows to take; "all" takes every row. Data sets without splits are taken whole.
        noise_px: Largest move of a box side, in pixels of a 1024 x 1024 picture.
        noise: Move sides outwards only, or either way.
        prompt: One or more, separated by commas, the first for the tables: box (noisy), point (one click on the pixel
            deepest inside), axes (the rectangle over the long and short axis), margin+20 or margin-10 (the tight box,
            each side moved), shift20 (the tight box moved as a whole); in pixels of a 1024 x 1024 picture.
        tasks: DATASET/TARGET or DATASET, separated by commas; * stands for any letters. All tasks without it.
        nsd: Surface distances as published, or as the released scripts have them: 0 where Dice is at most 0.2.
        seed: Of the noise and of the choice of targets.
        max_targets: Most targets of one image, chosen at random; 0 takes all.
        against: Folder of an evaluation of another model: adds comparison.md, on the targets that both have.
        timeout_seconds: Longest that a model may take for a picture; then its targets count as failed.
        keep_masks: Keep the masks of all models, for the pictures of medsam report.
        engine: Pictures in this process, on this machine's cores, or on a Ray cluster whose nodes see the same files.
        workers: Processes or Ray tasks at a time; all cores without it.
        address: Of a running Ray cluster; one is started on this machine without it.
    """
    import json

    from medsam.evaluation.evaluate import EvaluationProtocol
    from medsam.jobs.evaluate import EvaluateRequest
    from medsam.jobs.evaluate import evaluate as run

    taken = None if split == "all" else split
    protocol = EvaluationProtocol(
        split=taken, noise_px=noise_px, noise=noise, seed=seed, max_targets=max_targets or None,
        prompts=_split(prompt), tasks=_split(tasks or ""), nsd=nsd,
        modality=intensity.modality or "", window=intensity.window or "",
    )  # fmt: skip
    names = None if models is None else _split(models)
    request = EvaluateRequest(
        folders or [], output, protocol, store=store, against=against, model=model, models=names,
        timeout_seconds=timeout_seconds, keep_masks=keep_masks, engine=engine, workers=workers, address=address,
    )  # fmt: skip
    with terminal.progress("evaluate") as progress:
        result = run(request, progress=progress)
    terminal.answer(json.loads((output / "summary.json").read_text(encoding="utf-8")), result.tables)
    for (method, reason), count in result.failed.items():
        print(f"medsam: {method}: {count} targets failed and count as 0: {reason}", file=sys.stderr)
    for (method, reason), count in result.incomplete.items():
        print(f"medsam: {method}: {count} labels of whole volumes lack answers: {reason}", file=sys.stderr)
    return SOME_FAILED if result.failed else 0


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
