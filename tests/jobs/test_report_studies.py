"""Which tables and figures rows of several prompts and runs bring."""

from __future__ import annotations

from medsam.evaluation.measure import Score
from medsam.evaluation.report import keep_first_prompt
from medsam.evaluation.tables import group_tasks
from medsam.jobs.report_studies import StudyScores


def rows(prompts, quality=0.5):
    return [
        Score(
            dataset=dataset, modality="MR", sample="1", group="", target=0, targets=1, pixels=9, method="m", dice=0.4,
            nsd=0.5, seconds=0.1, prompt=prompt, quality=quality,
        )
        for dataset in ("mr_a", "mr_b")
        for prompt in prompts
    ]  # fmt: skip


def names(scores, runs):
    tasks, _ = group_tasks(keep_first_prompt(scores))
    study = StudyScores(scores, runs, None)
    return [one.name for one in study.tabulate(tasks)], [one.name for one in study.draw(tasks)]


def test_only_what_the_rows_allow_is_drawn():
    assert names(rows(["box"], float("nan")), ("in", "in")) == ([], [])
    assert names(rows(["box"]), ("in", "out")) == (["triage"], ["runs-dice", "runs-nsd", "triage"])
    moved = ["box", "margin+0", "margin+20", "shift20", "clicks1", "clicks2"]
    tables, plates = names(rows(moved), ("in", "in"))
    assert tables == ["robustness", "triage"]
    assert plates == ["prompt-margin", "prompt-shift", "clicks", "triage"]
