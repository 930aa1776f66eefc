"""Recipes as they are shipped, and what they say without words of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.evaluation.prompting import parse_prompt
from medsam.jobs.study_recipe import StudyModel, read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("study-*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_shipped_recipes_are_whole(path):
    recipe = read_recipe(path, "external")
    names = {model.name for model in recipe.models}
    assert "unet" in names and (
        "deeplabv3plus" in names or path.stem == "study-small"
    )  # both specialists, but for the smallest
    assert [parse_prompt(text).kind for text in recipe.prompts]
    assert read_recipe(path, "data-size").sizes == tuple(sorted(recipe.sizes))


def test_there_is_one_of_each_size():
    assert {path.stem for path in RECIPES} >= {"study-paper", "study-two-cores"}
    paper = read_recipe(next(path for path in RECIPES if path.stem == "study-paper"), "task-specific")
    assert paper.sizes == (10_000, 100_000, 1_000_000)
    assert len(paper.tasks) == 4
    assert [model.epochs for model in paper.models if model.network] == [0, 0]  # the paper's own numbers
    assert not StudyModel("lite-medsam").trained
