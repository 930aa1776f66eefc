"""Tables and bars of a study's times, with numbers that can be worked out by hand."""

from __future__ import annotations

from medsam.annotation.study.time_report import draw_times, tabulate_annotators, tabulate_times
from medsam.annotation.study.timing import CaseTime, Phase
from medsam.evaluation.figures import style
from medsam.evaluation.tables import write_csv, write_markdown


def time(case: int, who: str, with_model: bool, idle: float = 0, **seconds: float) -> CaseTime:
    phases: tuple[Phase, ...] = ("marking", "model", "refining", "review")
    return CaseTime(case, who, with_model, {phase: seconds.get(phase, 0.0) for phase in phases}, idle)


TIMES = [
    time(1, "ana", False, refining=600), time(2, "ana", False, refining=1200, review=60, idle=90),
    time(3, "ana", True, marking=60, model=30, refining=90), time(1, "bob", True, marking=120, model=6),
]  # fmt: skip


def test_minutes_of_each_case() -> None:
    text = write_csv(tabulate_times(TIMES)).splitlines()
    assert text[0] == "Case,Annotator,Model,Marking,Model's answer,Refining,Review,Total,Idle"
    assert text[2] == "2,ana,without,0.00,0.00,20.00,1.00,21.00,1.50"
    assert text[3] == "3,ana,with,1.00,0.50,1.50,0.00,3.00,0.00"


def test_means_of_each_annotator_and_what_the_model_saves() -> None:
    table = tabulate_annotators(TIMES)
    assert table.rows == (
        ("ana", "without", 2, "0.00", "0.00", "15.00", "0.50", "15.50", "0.75", ""),
        ("ana", "with", 1, "1.00", "0.50", "1.50", "0.00", "3.00", "0.00", "80.6"),
        ("bob", "with", 1, "2.00", "0.10", "0.00", "0.00", "2.10", "0.00", ""),
    )
    assert "60 s is idle" in write_markdown(table)


def test_bars_are_means_split_by_phase() -> None:
    with style():
        plate = draw_times(TIMES)
    [axes] = plate.figure.axes
    tops = {round(bar.get_x() + bar.get_width() / 2, 1): bar.get_y() + bar.get_height() for bar in axes.patches}
    assert {x: round(top, 6) for x, top in tops.items()} == {-0.2: 15.5, 0.2: 3.0, 1.2: 2.1}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["without\nana", "with\nana", "with\nbob"]
    assert plate.data.rows == tabulate_times(TIMES).rows and "2 annotators" in plate.caption
