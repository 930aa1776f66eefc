"""The data of a recipe, opened: stores, lists of pairs in them, and folders with an index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medsam.errors import DataError
from medsam.evaluation.index import read_index
from medsam.training.config import TrainConfig
from medsam.training.samples.sources import MixedSource, PictureSource, SampleSource, StoreSource


def open_recipe_data(config: TrainConfig, split: str) -> SampleSource:
    """Open one split of all data of a recipe.

    Raises:
        DataError: as open_data.
    """
    return open_data(config.data, split, by_picture=config.prompts_per_image > 1)


def open_data(data: Sequence[str], split: str, *, by_picture: bool, target: str = "") -> SampleSource:
    """Open one split of stores, lists of pairs in them, and folders.

    Args:
        data: Paths.
        split: Rows to take.
        by_picture: A unit of a store is a picture with all its targets, else one image-mask pair.
        target: The one to take: its name in a store, its class id in a folder; "" takes all.

    Raises:
        DataError: a path is neither a store nor a list in one nor a folder with index.csv, or lacks the split or target.
    """
    sources: list[SampleSource] = []
    for name in data:
        path = Path(name)
        above = next((folder for folder in path.parents if (folder / "store.json").is_file()), None)
        if path.suffix == ".parquet" and path.is_file() and above is not None:
            sources.append(StoreSource(above, split, by_picture=by_picture, subset=path, target=target))
        elif (path / "store.json").is_file():
            sources.append(StoreSource(path, split, by_picture=by_picture, target=target))
        elif (path / "index.csv").is_file():
            sources.append(PictureSource(read_index(path, split), target=target))
        else:
            raise DataError(
                f"{path} is no data to learn from",
                expected="a store made by medsam curate, a list in it made by medsam subset, or a folder with index.csv",
                fix="correct data in the recipe; paths are relative to where the command runs",
            )
    return sources[0] if len(sources) == 1 else MixedSource(sources)
