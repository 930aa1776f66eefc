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


def write_record(
    path: Path, predictor: Predictor, runs: Sequence[Run], window: str | None, *, volume: int | None = None,
    kept: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Write the record as JSON, whole or not at all.

    Args:
        path: Where to; a record there of an earlier run is replaced.
        predictor: What made the masks.
        runs: One for each mask.
        window: As asked for.
        volume: As asked for.
        kept: Masks of an earlier run that this one left as they are; what its record says of them stays.

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
        "volume": volume,
        "runs": [*_rows_of(path, kept), *(_row(run) for run in runs)],
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def _rows_of(path: Path, outputs: Sequence[Path]) -> list[dict[str, object]]:
    """Rows of an earlier record for these masks, each with the time, the weights and the window of its own run."""
    try:
        earlier = json.loads(path.read_text(encoding="utf-8")) if outputs else {}
    except (OSError, ValueError):
        return []
    if not isinstance(earlier, dict):
        return []
    wanted = {str(output) for output in outputs}
    whole = {key: earlier[key] for key in ("written", "weights", "window", "volume") if key in earlier}
    return [{**whole, **row} for row in earlier.get("runs", []) if row.get("output") in wanted]


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
