"""What figures of studies show, held against rows made by hand; the times of an annotation study."""

from __future__ import annotations

import pytest

from medsam.errors import DataError
from medsam.evaluation.curves import draw_runs, draw_sizes, draw_times, draw_triage, read_times
from medsam.evaluation.measure import Score
from medsam.evaluation.robustness import TriageCurve
from medsam.evaluation.tables import group_tasks


def tasks(methods):
    return group_tasks([
        Score(
            dataset=dataset, modality="MR", sample=f"{n}", group="", target=0, targets=1, pixels=9, method=method,
            dice=dice + 0.1 * n, nsd=0.5, seconds=0.1,
        )
        for dataset, shift in (("mr_a", 0.0), ("mr_b", 0.2))
        for method, dice in zip(methods, (0.3 + shift, 0.5 + shift), strict=True)
        for n in range(3)
    ])[0]  # fmt: skip


def test_sizes_are_read_from_names_and_runs_stand_side_by_side():
    found = draw_sizes(tasks(["u@10", "u@100"]), ("in", "out"))
    assert found is not None
    assert [(row[1], row[2], round(row[5], 6)) for row in found.data.rows] == [
        ("in", 10, 0.4), ("in", 100, 0.6), ("out", 10, 0.6), ("out", 100, 0.8),
    ]  # fmt: skip
    assert draw_sizes(tasks(["u", "v"]), ("in", "out")) is None
    side = draw_runs(tasks(["u", "v"]), ("in", "out"), "dice")
    assert side is not None
    assert [(row[0], row[1], round(row[4], 6)) for row in side.data.rows] == [
        ("in", "u", 0.4), ("in", "v", 0.6), ("out", "u", 0.6), ("out", "v", 0.8),
    ]  # fmt: skip
    turned = draw_runs(tasks(["u", "v"]), ("in", "out"), "dice", order=("out", "in"))
    assert [row[0] for row in turned.data.rows] == ["out", "out", "in", "in"]
    assert draw_runs(tasks(["u", "v"]), ("in", "in"), "dice") is None


def test_review_without_errors_is_no_figure():
    nothing = TriageCurve((("a", "b"),), (0.5,), (0,), float("nan"))
    assert draw_triage({"ours": nothing}, ["ours"]) is None
    plate = draw_triage({"ours": TriageCurve((("a", "b"), ("a", "c")), (0.5, 0.6), (1, 1), 1.0)}, ["ours"])
    assert plate is not None
    assert [row[1:] for row in plate.data.rows] == [(0.5, 0.5), (1.0, 1.0)]


def test_times_are_saved_as_in_the_paper_and_gaps_refused(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("expert,pipeline,case,seconds\nA,manual,1,1000\nA,manual,2,3000\nA,medsam,1,300\nA,medsam,2,500\n")
    rows = draw_times(read_times(path)).data.rows
    assert rows == (("A", "manual", 2, 2000.0, 0.0), ("A", "medsam", 2, 400.0, 80.0))
    for text in ("A,manual,1,1000\nB,medsam,1,3\n", "A,manual,1,0\n", "A,manual,1,x\n", ""):
        path.write_text("expert,pipeline,case,seconds\n" + text)
        with pytest.raises(DataError, match=r"times\.csv"):
            read_times(path)
