"""Figures draw what their data say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from score_rows import rows, three_tasks

from medsam.evaluation.figures import (
    COLUMN_IN,
    draw_boxes,
    draw_calibration,
    draw_latency,
    draw_modalities,
    draw_podium,
    draw_significance,
    draw_size,
    expect_error,
    style,
)
from medsam.evaluation.tables import compare_tasks, group_tasks


@pytest.fixture
def tasks():
    return group_tasks(three_tasks())[0]


def test_podium_dots_stand_at_the_places_of_a_hand_made_example_and_bars_count_them(tasks):
    plate = draw_podium(tasks, "dice")
    places = {(row[1], row[3]): row[5] for row in plate.data.rows}
    assert [places["us_b", m] for m in "abc"] == [3, 1, 1]
    assert "2 tasks" in plate.caption  # with ties
    upper, lower = plate.figure.axes
    dots = {line.get_label(): line.get_xdata().tolist() for line in upper.lines if line.get_label() in "abc"}
    assert dots == {"a": [0, 8, 0], "b": [5, 1, 1], "c": [10, 2, 2]}  # (place - 1) * 4 + number of the model
    heights = [[bar.get_height() for bar in bars] for bars in lower.containers]
    assert heights == [[2, 0, 1], [2, 1, 0], [2, 0, 1]]
    joined = [line for line in upper.lines if line.get_linewidth() == 0.5 and len(line.get_xdata()) == 3]
    assert [line.get_xdata().tolist() for line in joined] == [[0, 5, 10], [1, 2, 8], [0, 1, 2]]


def test_boxes_are_of_task_medians(tasks):
    plate = draw_boxes(tasks, "nsd")
    assert plate.data.columns == ("Modality", "Data set", "Target", "a", "b", "c")
    assert plate.data.rows[0][3:] == pytest.approx((0.45, 0.4, 0.35))
    assert plate.figure.get_figwidth() == COLUMN_IN


def test_dice_by_size_has_equally_many_cases_a_point():
    plate = draw_size(group_tasks(rows("a", [0.1 * i for i in range(1, 10)]))[0])
    assert [row[2] for row in plate.data.rows] == [2, 2, 2, 1, 1, 1]
    assert [row[1] for row in plate.data.rows] == [150, 350, 550, 700, 800, 900]
    assert plate.data.rows[0][4] == pytest.approx(0.15)


def test_the_expected_error_of_a_score_by_hand():
    error, bins = expect_error(np.array([0.91, 0.93, 0.15, 1.0]), np.array([0.8, 0.6, 0.15, 1.0]))
    assert error == pytest.approx((3 * abs(2.84 / 3 - 0.8) + 0) / 4)
    assert [n for _, _, n in bins] == [1, 3]


def test_a_model_without_scores_is_named_and_none_at_all_give_no_figure():
    silent = [replace(s, quality=math.nan) for s in rows("b", [0.4, 0.6])]
    plate = draw_calibration(group_tasks([*rows("a", [0.4, 0.6]), *silent])[0])
    assert "Without scores: b." in plate.caption
    assert {row[0] for row in plate.data.rows} == {"a"}
    assert draw_calibration(group_tasks(silent)[0]) is None


def test_seconds_are_of_whole_pictures():
    two = [replace(s, targets=2, target=t, sample="0.png", seconds=0.2) for t in (0, 1) for s in rows("a", [0.5])]
    assert draw_latency(group_tasks(two)[0]).data.rows[0][1:4] == pytest.approx((0.4, 0.4, 0.4))


def test_the_map_has_a_cell_a_task_and_pair(tasks):
    plate = draw_significance(compare_tasks(tasks, "dice", seed=0, rounds=10), "dice")
    texts = [text.get_text() for text in plate.figure.axes[0].texts]
    assert texts == ["-10.0", "-20.0", "-10.0", "+20.0", "+20.0", "0.0", "0.0", "0.0", "0.0"]
    assert len(plate.data.rows) == 9


def test_modalities_are_counted(tasks):
    assert draw_modalities(tasks).data.rows == (("ultrasound", 6),)


def test_figures_are_saved_at_a_column_with_letters_of_seven_points(tasks, tmp_path):
    with style():
        plate = draw_boxes(tasks, "dice")
        plate.figure.savefig(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "font-size: 7px" in text
    assert "Median Dice of a task" in text
