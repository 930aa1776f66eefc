"""Tables of modalities, targets, measures and failures, held against ones worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

from score_rows import rows

from medsam.evaluation.summary_tables import tabulate_faults, tabulate_groups, tabulate_measures
from medsam.evaluation.tables import compare_tasks, group_tasks, tabulate_medians, tabulate_ranks


def test_failed_rows_count_in_every_table():
    lost = [replace(s, dice=0.0, nsd=0.0, hd95=math.inf, fault="no prediction") for s in rows("b", [0.0, 0.0])]
    scores = [*rows("a", [0.8, 0.9]), *lost]
    tasks, _ = group_tasks(scores)
    assert tabulate_medians(tasks, compare_tasks(tasks, "dice", seed=0, rounds=5), "dice").rows[0][-1] == 2
    assert [row[-1] for row in tabulate_ranks(tasks, "dice", seed=0, rounds=5).rows] == [0, 2]
    measures = tabulate_measures(tasks)
    assert [(row[2], row[7], row[-1]) for row in measures.rows] == [(0.8, 3.0, 0), (0.0, "inf", 2)]
    assert tabulate_faults(scores).rows == (("b", "no prediction", 2),)


def test_medians_of_a_modality_and_of_a_target_are_over_all_of_their_cases():
    far = [replace(s, dataset="us_b") for s in rows("a", [0.1, 0.3, 0.8])]
    other = [replace(s, dataset="ct_a", modality="CT", fault="no prediction") for s in rows("a", [0.0])]
    table = tabulate_groups(group_tasks([*rows("a", [0.5, 0.7]), *far, *other])[0], "dice")
    assert table.rows == (
        ("modality", "CT", 1, 1, "0.000 (0.000, 0.000)", 1),
        ("modality", "ultrasound", 2, 5, "0.500 (0.300, 0.700)", 0),
        ("target", "nerve", 3, 6, "0.400 (0.150, 0.650)", 1),
    )
