"""What a run says: metrics.jsonl always, TensorBoard by switch, its progress, a figure of the curves."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import OutputError
from medsam.files.atomic import replacing, write_text
from medsam.progress import StepProgress
from medsam.training.run.tensorboard import Board

METRICS = "metrics.jsonl"
FIGURES = (".png", ".svg", ".pdf")
BLUE, ORANGE = "#2f6690", "#e07a1f"


class Monitor:
    """What the steps of a run write and say; the one process that speaks does so, the others pass speaks=False.

    Args:
        run: Folder of the run.
        total: Steps of the whole run.
        step: Steps done already; later lines of metrics.jsonl are dropped, since they will come again.
        measured: Whether the tuning split was measured at that step; if not, such a line is dropped too.
        speaks: Whether to write and show anything.
        board: Whether to write event files for TensorBoard too.
        progress: Told of every step; nothing is said where there is none.
    """

    def __init__(
        self,
        run: Path,
        *,
        total: int,
        step: int,
        speaks: bool,
        measured: bool = False,
        board: bool = False,
        progress: StepProgress | None = None,
    ) -> None:
        self.run = run
        self.path = run / METRICS
        self.total = total
        self.speaks = speaks
        self._progress = progress
        self._board = Board(run, step=step) if speaks and board else None
        if speaks:
            kept = step if measured else step - 1  # of measurements
            lines = [x for x in read_metrics(run) if _number(x, "step") <= (step if "loss" in x else kept)]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def close(self) -> None:
        """Write what is left."""
        if self._board is not None:
            self._board.close()

    def write(self, line: Mapping[str, object]) -> None:
        """Append one object to metrics.jsonl; a loss that is not finite becomes null."""
        if self.speaks:
            finite = {k: None if isinstance(v, float) and not -1e308 < v < 1e308 else v for k, v in line.items()}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite) + "\n")
        if self._board is not None:
            self._board.write(line)

    def picture(self, name: str, step: int, picture_HW3: NDArray[np.uint8]) -> None:
        """Show a picture of a step, where there is a place for it."""
        if self._board is not None:
            self._board.picture(name, step, picture_HW3)

    def flush(self) -> None:
        """Bring all that was written onto the disk: metrics.jsonl is there already."""
        if self._board is not None:
            self._board.flush()

    def show(self, step: int, text: str) -> None:
        """Tell how far the run is and how it goes."""
        if self.speaks and self._progress is not None:
            self._progress(step, self.total, text)

    def say(self, text: str) -> None:
        """Say a line that stays, beside the progress."""
        if self.speaks and self._progress is not None:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - a bar lets it pass above itself


def read_metrics(run: Path) -> list[dict[str, object]]:
    """The lines of metrics.jsonl; one that a kill cut short is left out."""
    try:
        text = (run / METRICS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict)]


def _number(line: Mapping[str, object], name: str) -> float:
    value = line.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def read_curve(lines: Iterable[Mapping[str, object]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of the lines that have `name`."""
    points = [(_number(line, "step"), _number(line, name)) for line in lines if name in line]
    points = [(step, value) for step, value in points if math.isfinite(step)]
    return [x for x, _ in points], [y for _, y in points]


def draw_curves(runs: Mapping[str, Path], path: Path) -> None:
    """Draw loss and tuning Dice over the steps of one or several runs.

    Args:
        runs: Folders by the name they are to have.
        path: .png, .svg or .pdf.

    Raises:
        OutputError: another suffix.
    """
    if path.suffix.lower() not in FIGURES:
        raise OutputError(f"{path} is no figure", expected=f"one of {', '.join(FIGURES)}", fix="rename it")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    colors = [BLUE, ORANGE, "#4f9d69", "#8d5a97", "#c44536", "#6b705c"]
    for index, (name, run) in enumerate(runs.items()):
        lines, color = read_metrics(run), colors[index % len(colors)]
        steps, losses = read_curve(lines, "loss")
        left.plot(steps, losses, color=color, alpha=0.25, linewidth=0.8)
        left.plot(steps, _smooth(losses), color=color, linewidth=1.6, label=name)
        right.plot(*read_curve(lines, "tune_dice"), color=color, marker="o", markersize=3, label=name)
    left.set_title("Loss (thin: each step, thick: smoothed)", fontsize=10)
    right.set_title("Dice on the tuning split (mean of the medians of modalities)", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _smooth(values: list[float]) -> list[float]:
    """The mean of what lies around each value, a twentieth of all of them and at least five; NaN is left out."""
    half = max(2, len(values) // 40)
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    first = np.maximum(np.arange(len(values)) - half, 0)
    end = np.minimum(np.arange(len(values)) + half + 1, len(values))
    smooth: list[float] = ((sums[end] - sums[first]) / np.maximum(counts[end] - counts[first], 1)).tolist()
    return smooth
