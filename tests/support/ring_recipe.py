"""A recipe for the data set of rings, and a verb called through the border of the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from medsam.cli.app import build_app


def call(verb: Callable[..., int], *arguments: object) -> object:
    return build_app().meta([verb.__name__, *map(str, arguments)])


def recipe(path: Path, data: Path, more: str = "") -> Path:
    path.write_text(
        f'name = "rings"\ndata = ["{data}"]\nbase = "lite-medsam"\nlike = ""\nencoder = "frozen"\n'
        "cache_embeddings = true\nepochs = 4\nglobal_batch = 2\nmicro_batch = 2\nlearning_rate = 1e-3\nworkers = 0\n"
        f"quality_weight = 0.5\nvalidate_every = 4\n{more}"
    )
    return path
