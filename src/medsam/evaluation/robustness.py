"""What prompts, scores and review cost: falls with the box, clicks to a Dice, and which slices to review first.

Shapes: N cases.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medsam.evaluation.measure import Score
from medsam.evaluation.prompting import parse_prompt
from medsam.evaluation.tables import Cell, Table, Task

FALL = 0.05  # of the median Dice: five points
GOOD = 0.9  # Dice at which clicking ends
WRONG = 0.7  # Dice below which a reader would correct a mask
SEEN = 0.9  # share of the wrong masks that a review must see


@dataclass(frozen=True)
class PromptCurve:
    """The median Dice of a method in a task against how far its boxes were moved.

    Args:
        task: Which.
        method: Name of the model.
        kind: "margin" or "shift".
        px: Ascending, in pixels of a 1024 x 1024 picture; below 0 boxes shrink.
        dice: Medians.
        agreement: Medians of the Dice with the answer to the first prompt; NaN where it was not measured.
    """

    task: Task
    method: str
    kind: str
    px: tuple[float, ...]
    dice: tuple[float, ...]
    agreement: tuple[float, ...]

    def margin_of_fall(self) -> float:
        """Give the px, from the least moved box on, where the median Dice has fallen by 5 points; infinite where it never does."""
        outwards = [(px, value) for px, value in zip(self.px, self.dice, strict=True) if px >= 0]
        if not outwards:
            return float("nan")
        floor = outwards[0][1] - FALL
        for (before, high), (after, low) in itertools.pairwise(outwards):
            if low <= floor:
                return before + (after - before) * (high - floor) / (high - low)
        return float("inf")


def trace_prompts(scores: Sequence[Score]) -> list[PromptCurve]:
    """Trace the median Dice of every method and task over the margins and shifts that were measured.

    The tight box, margin+0, is where shifts begin too.
    """
    groups: dict[tuple[Task, str, str], dict[float, list[Score]]] = {}
    for score in scores:
        task = Task(score.modality, score.dataset, score.name)
        if score.prompt.startswith(("margin", "shift")):
            spec = parse_prompt(score.prompt)
            groups.setdefault((task, score.method, spec.kind), {}).setdefault(spec.px, []).append(score)
            if spec.kind == "margin" and spec.px == 0:
                groups.setdefault((task, score.method, "shift"), {}).setdefault(0.0, []).append(score)
    curves = []
    for (task, method, kind), by_px in sorted(groups.items()):
        if len(by_px) > 1:
            px = sorted(by_px)
            dice = tuple(float(np.median([s.dice for s in by_px[p]])) for p in px)
            agreed = tuple(float(np.median([s.agreement for s in by_px[p]])) for p in px)
            curves.append(PromptCurve(task, method, kind, tuple(px), dice, agreed))
    return curves


def tabulate_robustness(curves: Sequence[PromptCurve]) -> Table:
    """Tabulate, for each task and method, where the median Dice has fallen by 5 points and how far the masks moved."""
    rows: list[tuple[Cell, ...]] = []
    for c in curves:
        fall = c.margin_of_fall()
        told = f"over {c.px[-1]:g}" if np.isinf(fall) else f"{fall:.0f}"
        agreed = c.agreement[-1]
        moved = "" if np.isnan(agreed) else f"{100 * (1 - agreed):.1f}"
        rows.append((c.task.modality, c.task.dataset, c.task.target, c.method, c.kind, told, f"{c.px[-1]:g}", moved))
    columns = (
        "Modality",
        "Data set",
        "Target",
        "Model",
        "Box",
        "Falls by 5 points at (px)",
        "Farthest (px)",
        "Mask moved there (%)",
    )
    note = (
        "px of a 1024 x 1024 picture. A margin moves every side outwards, a shift the box as a whole. The fall is of the median Dice from the tight "
        "box, interpolated. How far the mask moved: 100 - median Dice with the answer to the first prompt."
    )
    return Table(
        "robustness", "Where the median Dice falls by 5 points as the box moves", columns, tuple(rows), note=note
    )


def count_clicks(scores: Sequence[Score]) -> dict[str, NDArray[np.float64]]:
    """Count, for every method, the clicks after which each case has 90 % Dice, (N,); infinite where it never had.

    Methods that refused every click are left out.
    """
    cases: dict[str, dict[tuple[str, str, int], float]] = {}
    answered: set[str] = set()
    for score in scores:
        if not score.prompt.startswith("clicks"):
            continue
        if not score.fault:
            answered.add(score.method)
        of = cases.setdefault(score.method, {})
        key = (score.dataset, score.sample, score.target)
        rounds = parse_prompt(score.prompt).rounds
        of[key] = min(of.get(key, np.inf), rounds if score.dice >= GOOD else np.inf)
    return {method: np.array(list(of.values())) for method, of in cases.items() if method in answered}


@dataclass(frozen=True)
class TriageCurve:
    """The slices of a method in the order in which its own scores say that they need review.

    Args:
        slices: (data set, sample), the least certain first.
        quality: The least score of each.
        wrong: How many masks below 70 % Dice each has.
        needed: Share of slices after which 90 % of these are seen; NaN where nothing is wrong.
    """

    slices: tuple[tuple[str, str], ...]
    quality: tuple[float, ...]
    wrong: tuple[int, ...]
    needed: float


def rank_for_review(scores: Sequence[Score]) -> dict[str, TriageCurve]:
    """Rank the slices of every method that scores its own masks; a failed case comes first of all."""
    slices: dict[str, dict[tuple[str, str], list[Score]]] = {}
    for score in scores:
        slices.setdefault(score.method, {}).setdefault((score.dataset, score.sample), []).append(score)
    curves = {}
    for method, of in slices.items():
        if all(np.isnan(s.quality) for rows in of.values() for s in rows):
            continue
        least = {key: min(-1.0 if np.isnan(s.quality) else s.quality for s in rows) for key, rows in of.items()}
        order = sorted(of, key=lambda key: (least[key], key))
        wrong = [sum(s.dice < WRONG for s in of[key]) for key in order]
        total = np.cumsum(wrong)
        needed = float(np.searchsorted(total, SEEN * total[-1]) + 1) / len(order) if total[-1] else float("nan")
        curves[method] = TriageCurve(tuple(order), tuple(least[key] for key in order), tuple(wrong), needed)
    return curves


def tabulate_triage(curves: Mapping[str, TriageCurve]) -> Table:
    """Tabulate the slices of every method in the order of review."""
    rows: list[tuple[Cell, ...]] = []
    for method, curve in curves.items():
        seen = np.cumsum(curve.wrong)
        for k, (dataset, sample) in enumerate(curve.slices):
            share = float(seen[k] / seen[-1]) if seen[-1] else 1.0
            rows.append((method, k + 1, dataset, sample, round(curve.quality[k], 4), curve.wrong[k], round(share, 4)))
    columns = ("Model", "Review as", "Data set", "Sample", "Least score", "Wrong masks", "Share of wrong masks seen")
    note = "Wrong: Dice below 0.7. " + " ".join(
        f"{method}: 90 % of them are seen in {100 * curve.needed:.0f} % of the slices."
        for method, curve in curves.items()
        if not np.isnan(curve.needed)
    )
    return Table("triage", "Slices in the order of review", columns, tuple(rows), note=note.strip())
