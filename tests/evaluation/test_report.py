"""Rows kept on disk, summed up and compared."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from pyarrow import parquet

from medsam.errors import DataError
from medsam.evaluation.evaluate import EvaluationProtocol
from medsam.evaluation.measure import Score
from medsam.evaluation.report import (
    ScoreFile,
    compare_methods,
    mean_of_medians,
    read_scores,
    summarize,
    write_report,
    write_tables,
)

ONE = Score("us_a", "ultrasound", "1.png", "p1", 0, 1, 120, "ours", 0.5, 0.25, 0.1)
ROWS = [
    replace(ONE, targets=2),
    replace(ONE, targets=2, target=1, dice=0.7),
    replace(ONE, sample="2.png", dice=0.9, nsd=0.75),
    replace(ONE, dataset="ct_b", modality="CT", dice=0.2, nsd=0.1),
]


def opened(folder, seed=0):
    return ScoreFile(folder, {"ours": "abc"}, EvaluationProtocol(seed=seed))


def test_medians_and_quartiles_by_hand():
    ct, us = summarize(ROWS, "dataset")
    assert (ct.name, ct.images, ct.targets, ct.dice) == ("ct_b", 1, 1, (0.2, 0.2, 0.2))
    assert (us.name, us.modality, us.images, us.targets) == ("us_a", "ultrasound", 2, 3)
    assert us.dice == pytest.approx((0.6, 0.7, 0.8))
    assert us.nsd == pytest.approx((0.25, 0.25, 0.5))
    assert mean_of_medians([ct, us]) == pytest.approx((0.45, 0.175))
    assert [one.name for one in summarize(ROWS, "modality")] == ["CT", "ultrasound"]


def test_a_file_goes_on_and_drops_the_half_written_image(tmp_path):
    file = opened(tmp_path)
    assert not file.has("us_a", "1.png", "ours")
    file.add(ROWS[:2])
    file.add(ROWS[2:3])
    assert file.has("us_a", "1.png", "ours")
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text.rsplit("\n", 3)[0] + "\n")  # one of two rows of 1.png, none of 2.png
    again = opened(tmp_path)
    assert again.scores == []
    again.add(ROWS[:2])
    assert read_scores(tmp_path) == ROWS[:2]
    with pytest.raises(DataError, match="other settings"):
        opened(tmp_path, seed=1)


def test_a_failed_picture_is_counted_and_asked_again(tmp_path):
    failed = [replace(row, dice=0.0, hd95=math.inf, fault="the model failed (ValueError)") for row in ROWS[2:3]]
    file = opened(tmp_path)
    file.add(ROWS[:2])
    file.add(failed)
    assert read_scores(tmp_path) == ROWS[:2] + failed
    assert "| us_a | ultrasound | 2 | 3 | 0.500 (0.250 to 0.600) | 0.250 (0.250 to 0.500) | 1 |" in write_tables(
        file.scores
    )
    assert opened(tmp_path).scores == ROWS[:2]


def test_every_model_has_its_tables_and_two_on_one_side_are_not_compared():
    both = [*ROWS, *(replace(row, method="theirs", dice=0.1) for row in ROWS)]
    said = write_tables(both)
    assert said.startswith("## ours\n\n| data set")
    assert "## theirs" in said
    assert "| us_a | ultrasound | 2 | 3 | 0.100 (0.100 to 0.100) |" in said
    with pytest.raises(DataError, match="several models"):
        compare_methods(ROWS, both)


def test_rows_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no rows\.csv"):
        read_scores(tmp_path)
    opened(tmp_path).add(ROWS[:2])
    (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text().replace("0.7", "high"))
    with pytest.raises(DataError, match="cannot be read"):
        read_scores(tmp_path)


def test_two_methods_are_compared_on_the_targets_they_share():
    better = [replace(row, method="theirs", dice=row.dice + 0.1) for row in ROWS[1:]]
    said = compare_methods(ROWS, better)
    assert "Dice ours -> theirs" in said
    assert "| us_a | 2 | 0.800 -> 0.900 | +10.0 |" in said
    with pytest.raises(DataError, match="no target in common"):
        compare_methods(ROWS, [replace(ONE, dataset="other")])


def test_a_report_has_tables_numbers_and_rows(tmp_path):
    write_report(tmp_path, ROWS)
    assert (tmp_path / "summary.md").read_text() == write_tables(ROWS)
    assert "| us_a | ultrasound | 2 | 3 | 0.700 (0.600 to 0.800) |" in write_tables(ROWS)
    saved = json.loads((tmp_path / "summary.json").read_text())
    assert saved["mean_of_medians"]["ours"]["dice"] == pytest.approx(0.45)
    assert [row["dice"] for row in parquet.read_table(tmp_path / "rows.parquet").to_pylist()] == [0.5, 0.7, 0.9, 0.2]
