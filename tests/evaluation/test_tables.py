"""Tables of rows held against ones worked out by hand."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from score_rows import ONE, rows, three_tasks

from medsam.errors import DataError
from medsam.evaluation.tables import (
    Table,
    compare_tasks,
    group_tasks,
    mark_significance,
    median_table,
    place_methods,
    tabulate_comparisons,
    tabulate_medians,
    tabulate_ranks,
    write_csv,
    write_latex,
    write_markdown,
)


def test_places_of_a_podium_with_ties_by_hand():
    tasks, left_out = group_tasks(three_tasks())
    assert left_out == 0
    medians = median_table(tasks, "dice")
    np.testing.assert_allclose(medians, [[0.9, 0.8, 0.7], [0.6, 0.8, 0.8], [0.5, 0.5, 0.5]])
    assert place_methods(medians).tolist() == [[1, 2, 3], [3, 1, 1], [1, 1, 1]]


def test_ranks_and_wins_share_ties():
    tasks, _ = group_tasks(three_tasks())
    table = tabulate_ranks(tasks, "dice", seed=0, rounds=20)
    by = {row[0]: row for row in table.rows}
    assert {name: row[1] for name, row in by.items()} == {"a": 2.0, "b": 1.83, "c": 2.17}
    assert {name: row[3] for name, row in by.items()} == {"a": 1.33, "b": 0.83, "c": 0.83}
    assert [row[0] for row in table.rows] == ["b", "a", "c"]
    assert table == tabulate_ranks(tasks, "dice", seed=0, rounds=20)


def test_all_ties_have_no_star_and_everybody_is_bold():
    tasks, _ = group_tasks([s for m in ("a", "b") for s in rows(m, [0.5] * 8)])
    comparisons = compare_tasks(tasks, "dice", seed=0, rounds=20)
    assert [(c.p_holm, c.test.effect, c.interval.estimate) for c in comparisons] == [(1.0, 0.0, 0.0)]
    table = tabulate_medians(tasks, comparisons, "dice")
    assert table.rows[0][3:] == (8, "0.500 (0.500, 0.500)", "0.500 (0.500, 0.500)", 0)
    assert table.bold == {(0, 4), (0, 5)}


def test_the_best_carries_the_stars_of_its_corrected_difference_from_the_runner_up():
    worse, better = [0.4 + 0.01 * i for i in range(12)], [0.5 + 0.013 * i for i in range(12)]
    tasks, _ = group_tasks([*rows("a", worse), *rows("b", better)])
    [comparison] = comparisons = compare_tasks(tasks, "dice", seed=0, rounds=50)
    assert comparison.test.p_value == pytest.approx(2 / 2**12)  # every difference is positive
    assert comparison.p_holm == comparison.test.p_value
    assert comparison.test.effect == 1.0
    assert tabulate_medians(tasks, comparisons, "dice").rows[0][5].endswith("***")
    assert tabulate_comparisons(comparisons, "dice").rows[0][-2:] == ("***", 1.0)
    assert [mark_significance(p) for p in (0.05, 0.049, 0.0099, 0.0009)] == ["", "*", "**", "***"]


def test_slices_of_one_volume_count_as_one_group():
    """Twelve slices that all say the same, of two patients: no star, though twelve independent ones had three."""
    first, second = rows("a", [0.5 + 0.01 * i for i in range(12)]), rows("b", [0.6 + 0.02 * i for i in range(12)])
    grouped = [replace(s, group=f"v{int(s.sample[:-4]) // 6}") for s in first + second]
    [comparison] = compare_tasks(group_tasks(grouped)[0], "dice", seed=0, rounds=20)
    assert (comparison.cases, comparison.test.clusters, comparison.test.p_value) == (12, 2, 0.5)


def test_a_task_with_one_case_is_told_without_a_star():
    tasks, _ = group_tasks([*rows("a", [0.2]), *rows("b", [0.9])])
    [comparison] = comparisons = compare_tasks(tasks, "dice", seed=0, rounds=20)
    assert comparison.test.p_value == 1.0
    assert tabulate_medians(tasks, comparisons, "dice").rows[0][3:] == (
        1, "0.200 (0.200, 0.200)", "0.900 (0.900, 0.900)", 0,
    )  # fmt: skip


def test_cases_that_a_model_lacks_are_left_out_and_counted():
    tasks, left_out = group_tasks([*rows("a", [0.1, 0.2, 0.3]), *rows("b", [0.4])])
    assert (len(tasks[0].cases), left_out) == (1, 2)
    with pytest.raises(DataError, match="no case that all models have"):
        group_tasks([*rows("a", [0.1]), *rows("b", [0.4], dataset="other")])
    with pytest.raises(DataError, match="two rows of a for one case"):
        group_tasks(rows("a", [0.1]) * 2)


def test_tasks_are_data_set_and_target():
    scores = [ONE, replace(ONE, name="vessel", target=1), replace(ONE, dataset="ct", modality="CT")]
    assert [str(task.task) for task in group_tasks(scores)[0]] == ["ct nerve", "us_a nerve", "us_a vessel"]


def test_a_table_is_written_three_ways():
    table = Table("t", "Dice_1", ("Model & co", "p"), (("a|b", 0.5), ("c_d", 1)), frozenset({(1, 0)}), "50 % < 1")
    assert list(csv.reader(io.StringIO(write_csv(table)))) == [["Model & co", "p"], ["a|b", "0.5"], ["c_d", "1"]]
    assert "| a\\|b | 0.5 |\n| **c_d** | 1 |" in write_markdown(table)
    latex = write_latex(table)
    assert r"\caption{Dice\_1. 50 \% $<$ 1}" in latex
    assert r"\begin{tabular}{lr}" in latex
    assert r"\textbf{c\_d} & 1 \\" in latex
