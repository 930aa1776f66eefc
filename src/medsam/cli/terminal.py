"""Where a verb speaks: one way to answer, to report, to show progress and to log, for people and for programs."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from medsam.errors import MedsamError
from medsam.progress import StepProgress, show_lines

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PACE_SECONDS = 300.0  # over which a bar reckons the time left; a step of training may take a minute


@dataclass(frozen=True)
class Terminal:
    """What the flags of every verb ask for.

    Args:
        json: Answer in JSON on standard output, and nothing else there.
        quiet: Say nothing but answers that were asked for, and errors.
    """

    json: bool = False
    quiet: bool = False

    def answer(self, value: object, say: Callable[[], None] | str) -> None:
        """Give what was asked for: the value as JSON for programs, else the text, or what the function prints."""
        if self.json:
            print(json.dumps(value, indent=1, ensure_ascii=False, default=str))
        elif callable(say):
            say()
        else:
            print(say, end="" if say.endswith("\n") else "\n")

    def report(self, value: object, say: Callable[[], None] | str) -> None:
        """Tell what was done, as answer does; a quiet command does not."""
        if self.json or not self.quiet:
            self.answer(value, say)

    def note(self, line: str) -> None:
        """Say something beside the answer, on standard error."""
        if not self.quiet:
            print(line, file=sys.stderr)

    @contextmanager
    def progress(self, what: str, *, in_bytes: bool = False) -> Iterator[StepProgress | None]:
        """Show how far a job is: a bar on a terminal, now and then a line elsewhere, nothing where it is quiet."""
        with self.bars([what], in_bytes=in_bytes) as bars:
            yield bars.get(what)

    @contextmanager
    def bars(self, names: Sequence[str], *, in_bytes: bool = False) -> Iterator[Mapping[str, StepProgress]]:
        """Show how far several jobs are, as progress does; gives each its progress, none where it is quiet."""
        if self.quiet:
            yield {}
            return
        if not sys.stderr.isatty():
            yield {name: show_lines(name, in_bytes=in_bytes) for name in names}
            return
        from rich import progress as rich
        from rich.console import Console

        counts = (rich.DownloadColumn(), rich.TransferSpeedColumn()) if in_bytes else (rich.MofNCompleteColumn(),)
        columns = (
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            *counts,
            rich.TextColumn("{task.fields[text]}"),
            rich.TimeRemainingColumn(),
        )
        with rich.Progress(
            *columns,
            console=Console(stderr=True),
            transient=True,
            redirect_stdout=False,
            speed_estimate_period=PACE_SECONDS,
        ) as drawn:
            yield {
                name: partial(_advance, drawn, drawn.add_task(name, total=None, visible=False, text=""))
                for name in names
            }


def _advance(drawn: Bars, task: TaskID, done: int, total: int | None, text: str = "") -> None:
    drawn.update(task, completed=done, total=total, text=text, visible=True)


@contextmanager
def logging_to(*, quiet: bool, verbose: bool, file: Path | None) -> Iterator[None]:
    """Send the package's log to standard error, and with every error to a file where one is named, for one verb."""
    log = logging.getLogger("medsam")
    shown = logging.StreamHandler()
    shown.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    handlers: list[logging.Handler] = [shown]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = log.level
    log.setLevel(logging.INFO)
    for handler in handlers:
        log.addHandler(handler)
    try:
        yield
    except MedsamError as error:  # the border prints it; the file is to have it too
        for handler in handlers[1:]:
            handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, str(error), (), None))
        raise
    finally:
        log.setLevel(before)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def limit_threads(count: int) -> None:
    """Let numerical libraries use so many threads: those not loaded yet read it from the environment."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(count)
    if "torch" in sys.modules:
        from medsam.inference.runtimes.torch import set_threads

        set_threads(count)
