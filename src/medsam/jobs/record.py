"""The record of a run: what made the masks, so that they can be made again and audited. Every verb writes the same one."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from medsam import __version__
from medsam.files.atomic import write_json
from medsam.imaging.prompts import Prompt

if TYPE_CHECKING:
    from medsam.inference.predictor import Predictor

Row = Mapping[str, object]


@dataclass(frozen=True)
class MaskRun:
    """One image segmented.

    Args:
        source: The image, as a record may name it.
        output: The mask.
        prompts: What was asked.
        scores: One per prompt, None where there is none (a slide).
        seconds: Wall clock by phase.
        voxels: Label id to number of voxels.
        markers: The files that the prompts came from.
        score_name: What the scores are, "stability", "expected IoU" or "predicted IoU".
    """

    source: str
    output: Path
    prompts: tuple[Prompt, ...]
    scores: tuple[float | None, ...]
    seconds: Mapping[str, float]
    voxels: Mapping[int, int]
    markers: tuple[Path, ...] = ()
    score_name: str = "score"

    def as_row(self) -> dict[str, object]:
        """The run as a record holds it."""
        return describe_request(self.source, self.output, self.prompts, self.markers) | {
            "scores": [None if score is None else round(score, 4) for score in self.scores],
            "seconds": {phase: round(value, 4) for phase, value in self.seconds.items()},
            "voxels": {str(label): count for label, count in self.voxels.items()},
        }


def describe_request(
    source: str, output: Path, prompts: Sequence[Prompt], markers: Sequence[Path] = ()
) -> dict[str, object]:
    """What was asked for one mask, as a record holds it."""
    listed = [{k: v for k, v in asdict(prompt).items() if v not in (None, ())} for prompt in prompts]
    row: dict[str, object] = {"source": source, "output": str(output), "prompts": json.loads(json.dumps(listed))}
    return row | ({"markers": [str(path) for path in markers]} if markers else {})


@dataclass(frozen=True)
class RunRecord:
    """A record on disk: what all its runs share, and a row for each.

    Args:
        shared: The settings and the weights.
        rows: By the output they are about.
    """

    shared: Row
    rows: Mapping[str, Row]

    def find_row(self, output: Path) -> Row | None:
        """What made one mask, with what its run shared with others; None where the record does not know it."""
        row = self.rows.get(str(output))
        return None if row is None else {**self.shared, **row}


def describe_run(predictor: Predictor, settings: Mapping[str, object]) -> dict[str, object]:
    """What the rows of one run share: weights and settings, and when it was."""
    import numpy
    import torch

    versions = {"openmedsam": __version__, "torch": torch.__version__, "numpy": numpy.__version__}
    return {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {**versions, "python": platform.python_version()},
        "model": json.loads(predictor.manifest.to_json()),
        "weights": predictor.weights,
        **settings,
    }


def write_record(path: Path, shared: Row, rows: Sequence[Row]) -> None:
    """Write the record as JSON, whole or not at all.

    Args:
        path: Where to.
        shared: From describe_run.
        rows: From MaskRun.as_row, or of an earlier record for masks that this run left as they are.

    Raises:
        OutputError: the disk refused.
    """
    write_json(path, {**shared, "runs": rows})


def read_record(path: Path) -> RunRecord:
    """Read a record; one that is missing or damaged knows nothing."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raw = None
    rows = raw.get("runs") if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not isinstance(rows, list):
        return RunRecord({}, {})
    shared = {key: value for key, value in raw.items() if key not in ("versions", "model", "runs")}
    return RunRecord(shared, {str(row.get("output")): row for row in rows if isinstance(row, dict)})
