"""What a report says beyond one prompt and one run: boxes moved, clicks, training sizes, review, runs compared, times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam.evaluation.curves import (
    draw_clicks,
    draw_prompts,
    draw_runs,
    draw_sizes,
    draw_times,
    draw_triage,
    read_times,
)
from medsam.evaluation.figures import Plate
from medsam.evaluation.measure import Score
from medsam.evaluation.robustness import rank_for_review, tabulate_robustness, tabulate_triage, trace_prompts
from medsam.evaluation.tables import MEASURES, Table, TaskScores

MOST_RUNS = 3  # that one figure shows side by side; a study of one task a run has more, and none of it


@dataclass(frozen=True, eq=False)
class StudyScores:
    """The rows of all runs of a report, with every prompt.

    Args:
        scores: All of them.
        runs: Of each task, the name of its run.
        times: CSV of an annotation study; None where there was none.
        order: Of the runs in figures.
    """

    scores: Sequence[Score]
    runs: tuple[str, ...]
    times: Path | None
    order: tuple[str, ...] = ()

    def tabulate(self, tasks: Sequence[TaskScores]) -> list[Table]:
        """Tabulate the fall of every task as boxes move, and the order of review."""
        curves = trace_prompts(self.scores)
        review = rank_for_review(_first_rows(tasks))
        return [*([tabulate_robustness(curves)] if curves else []), *([tabulate_triage(review)] if review else [])]

    def draw(self, tasks: Sequence[TaskScores]) -> list[Plate]:
        """Draw what the rows allow.

        Raises:
            DataError: the times cannot be read.
        """
        methods, curves = list(tasks[0].scores), trace_prompts(self.scores)
        plates = [
            *(draw_prompts(curves, methods, kind) for kind in ("margin", "shift")),
            draw_clicks(self.scores, methods),
            draw_sizes(tasks, self.runs),
            *(draw_runs(tasks, self.runs, m, order=self.order) for m in MEASURES if len(set(self.runs)) <= MOST_RUNS),
            draw_triage(rank_for_review(_first_rows(tasks)), methods),
            None if self.times is None else draw_times(read_times(self.times)),
        ]
        return [plate for plate in plates if plate is not None]


def _first_rows(tasks: Sequence[TaskScores]) -> list[Score]:
    return [score for task in tasks for of in task.scores.values() for score in of]
