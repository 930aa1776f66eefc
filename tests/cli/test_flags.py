"""Flags that several verbs share are the same in each: one help text, one default."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from command import medsam
from medsam.imaging.box_options import BoxOptions
from medsam.jobs.options import FileOptions, IntensityOptions, MaskOptions, ModelOptions, RunOptions

GROUPS = {
    FileOptions: ("segment", "annotate", "measure", "view", "info", "convert"),
    IntensityOptions: ("segment", "annotate", "view", "info", "convert", "simulate", "finetune"),
    BoxOptions: ("annotate", "simulate"),
    MaskOptions: ("segment", "annotate", "convert"),
    RunOptions: ("segment", "annotate"),
    ModelOptions: ("segment", "annotate", "simulate", "evaluate"),
}


def help_of(verb: str, flag: str) -> str:
    """What --help says of a flag: all up to the next one, without the frame and the breaks."""
    text = " ".join(medsam(f"{verb} --help").out.replace("│", " ").split())
    found = re.findall(rf" {flag} (.*?)(?= --[a-z]| ╰)", text)
    assert found, f"{verb} has no {flag}"
    return str(found[-1])  # the example above may have the flag too


@pytest.mark.parametrize("group", list(GROUPS), ids=lambda group: group.__name__)
def test_a_group_of_flags_is_the_same_in_every_verb(group: type) -> None:
    for field in fields(group):
        flag = f"--{field.name.replace('_', '-')}"
        said = {verb: help_of(verb, flag) for verb in GROUPS[group] if (verb, flag) != ("measure", "--volume")}
        assert len(set(said.values())) == 1, said


def test_a_switch_has_no_negative_and_a_value_may_begin_with_a_hyphen() -> None:
    assert "--no-" not in medsam("segment --help").out
    ended = medsam("segment none.png --box -5,-5,20,20 -o m.png")
    assert ended.code == 1
    assert "none.png" in ended.err
