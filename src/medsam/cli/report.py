"""`medsam report`: tables, figures and the worst cases of evaluations as one page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from medsam.cli.flags import Output, Overwrite, ThisTerminal

SOME_MISSING = 3  # reported, less pictures or rows, or with failed cases


def report(
    runs: Annotated[list[Path], Parameter(negative=())],
    /,
    *,
    output: Output,
    worst: int = 20,
    seed: int = 0,
    rounds: int = 2000,
    times: Path | None = None,
    overwrite: Overwrite = False,
    terminal: ThisTerminal,
) -> int:
    """Report evaluations: tables, statistics, figures and the worst cases with their pictures.

    Args:
        runs: Folders of medsam evaluate.
        output: Folder for index.html, tables/, figures/, cases/ and figures.pdf.
        worst: Cases of each model that are listed with their pictures, the worst first; 0 takes all.
        seed: Of the bootstrap.
        rounds: Of the bootstrap.
        times: Times of an annotation study, drawn as bars: CSV with the columns expert, pipeline, case and seconds.
    """
    from dataclasses import asdict

    from medsam.jobs.report import ReportRequest
    from medsam.jobs.report import report as write

    result = write(ReportRequest(runs, output, worst=worst, seed=seed, rounds=rounds, overwrite=overwrite, times=times))
    terminal.report(asdict(result), f"{result.ranks}\n{result.page}\n")
    counts = ((result.failed, "rows count as failed, with Dice and NSD 0"),
              (result.left_out, "rows were left out because another model lacks their case"),
              (result.unpictured, "pictures are missing because their images are not where they were"))  # fmt: skip
    for count, what in counts:
        if count:
            print(f"medsam: {count} {what}", file=sys.stderr)
    return SOME_MISSING if any(count for count, _ in counts) else 0
