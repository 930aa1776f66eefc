"""What a run says: metrics.jsonl always, TensorBoard by switch, a progress bar or plain lines, a figure of the curves."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from medsam.errors import OutputError
from medsam.io.atomic import replacing
from medsam.training.board import Board

METRICS = "metrics.jsonl"
FIGURES = (".png", ".svg", ".pdf")
BLUE, ORANGE = "#2f6690", "#e07a1f"
LINE_SECONDS = 30.0  # between plain lines where there is no terminal
PACE_STEPS = 500  # over which the time left is reckoned, measurements included


class Monitor:
    """The one process that speaks writes here; the others pass speaks=False.

    Args:
        run: Folder of the run.
        total: Steps of the whole run.
        step: Steps done already; later lines of metrics.jsonl are dropped, since they will come again.
        measured: Whether the tuning split was measured at that step; if not, such a line is dropped too.
        speaks: Whether to write and show anything.
        board: Whether to write event files for TensorBoard too.
    """

    def __init__(
        self, run: Path, *, total: int, step: int, speaks: bool, measured: bool = False, board: bool = False
    ) -> None:
        self.run = run
        self.path = run / METRICS
        self.total = total
        self.speaks = speaks
        self._said = time.monotonic()
        self._pace = Pace(total)
        self._board = Board(run, step=step) if speaks and board else None
        if speaks:
            kept = step if measured else step - 1  # of measurements
            lines = [x for x in read_metrics(run) if _number(x, "step") <= (step if "loss" in x else kept)]
            with replacing(self.path) as temporary:
                temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        self._bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not (speaks and sys.stderr.isatty()),
        )
        self._task = self._bar.add_task("", total=total, completed=step, text="")

    def __enter__(self) -> Monitor:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._bar.stop()
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
        """Move the bar; without a terminal say a line now and then."""
        now = time.monotonic()
        text = f"{text}  {self._pace.left(step, now)}"
        self._bar.update(self._task, completed=step, text=text)
        if self._bar.disable and (now - self._said > LINE_SECONDS or step == self.total):
            self._said = now
            self.say(f"step {step}/{self.total} {text}")

    def say(self, text: str) -> None:
        """One line that stays."""
        if not self.speaks:
            return
        if self._bar.disable:
            print(text, file=sys.stderr, flush=True)  # noqa: T201 - the run's own voice
        else:
            self._bar.console.print(text, highlight=False)


class Pace:
    """The time a run has left, by how long its latest steps took with all that was done between them."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._seen: deque[tuple[int, float]] = deque(maxlen=PACE_STEPS)

    def left(self, step: int, seconds: float) -> str:
        """As a person says it; `seconds` are of any clock.

        Args:
            step: Steps done.
            seconds: Now.
        """
        self._seen.append((step, seconds))
        first_step, first_seconds = self._seen[0]
        if step == first_step:
            return "time left unknown"
        rest = (seconds - first_seconds) / (step - first_step) * (self.total - step)
        if rest >= 3600:
            return f"{int(rest // 3600)} h {int(rest % 3600 // 60):02d} min left"
        return f"{int(rest // 60)} min {int(rest % 60):02d} s left"


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


def curve(lines: Iterable[Mapping[str, object]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of the lines that have `name`."""
    points = [(_number(line, "step"), _number(line, name)) for line in lines if name in line]
    points = [(step, value) for step, value in points if math.isfinite(step)]
    return [x for x, _ in points], [y for _, y in points]


def draw(runs: Mapping[str, Path], path: Path) -> None:
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
        steps, losses = curve(lines, "loss")
        left.plot(steps, losses, color=color, alpha=0.25, linewidth=0.8)
        left.plot(steps, _smooth(losses), color=color, linewidth=1.6, label=name)
        right.plot(*curve(lines, "tune_dice"), color=color, marker="o", markersize=3, label=name)
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
