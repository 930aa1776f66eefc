"""The record of a run: what made the masks, so that they can be made again and audited."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medsam import __version__
from medsam.imaging.prompts import Prompt
from medsam.io.atomic import replacing

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor


@dataclass(frozen=True)
class Run:
    """One image segmented.

    Args:
        source: The image.
        output: The mask.
        prompts: What was asked.
        scores: One per prompt, None for a 3D box.
        seconds: Wall clock by phase.
        voxels: Label id to number of voxels.
    """

    source: Path
    output: Path
    prompts: tuple[Prompt, ...]
    scores: tuple[float | None, ...]
    seconds: dict[str, float]
    voxels: dict[int, int]


def write_record(path: Path, predictor: Predictor, runs: Sequence[Run], window: str | None) -> None:
    """Write the record as JSON, whole or not at all.

    Raises:
        OutputError: the disk refused.
    """
    import numpy
    import torch

    record = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "openmedsam": __version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
        "model": json.loads(predictor.manifest.to_json()),
        "weights": predictor.weights,
        "window": window,
        "runs": [_row(run) for run in runs],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def _row(run: Run) -> dict[str, object]:
    prompts = [
        {key: value for key, value in asdict(prompt).items() if value not in (None, ())} for prompt in run.prompts
    ]
    seconds = {phase: round(value, 4) for phase, value in run.seconds.items()}
    return {
        "source": str(run.source),
        "output": str(run.output),
        "prompts": prompts,
        "scores": run.scores,
        "seconds": seconds,
        "voxels": run.voxels,
    }
