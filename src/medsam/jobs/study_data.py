"""The data of a study: folders that name the chosen pictures of the recipe's data sets, or stores; no pixel is copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from medsam.errors import DataError
from medsam.evaluation.index import COLUMNS, IndexedPicture, read_index
from medsam.evaluation.targets import generator_for
from medsam.files.atomic import write_text
from medsam.io.formats import read_mask
from medsam.io.text import format_rows
from medsam.jobs.study_recipe import StudyData, StudyRecipe

TRAIN, VAL = "train", "val"


@dataclass(frozen=True)
class StudySets:
    """Where the data of a study lie.

    Args:
        internal: Folders, of which "train" is learnt from and "val" is measured.
        external: Folders of which "val" is measured.
        modalities: Of the internal data.
    """

    internal: tuple[Path, ...]
    external: tuple[Path, ...]
    modalities: tuple[str, ...]


def prepare_data(recipe: StudyRecipe, folder: Path) -> StudySets:
    """Write a folder with index.csv and labels.csv for each data set of a recipe; those that are there stay.

    Raises:
        DataError: a data set has no index, or no picture of that name in the split that it needs.
        InputFileError: a mask is damaged.
    """
    if recipe.store:
        from medsam.data.store.reading import Store

        kinds = sorted(set(Store(recipe.store).catalogue["modality"].to_pylist()))
        return StudySets((), (), tuple(kinds))
    for one in recipe.data:
        if not (folder / one.name / "index.csv").is_file():
            _write_set(one, folder / one.name, recipe.seed)
    internal = tuple(folder / one.name for one in recipe.data if one.role == "internal")
    external = tuple(folder / one.name for one in recipe.data if one.role == "external")
    kinds = sorted({read_index(place, VAL)[0].modality for place in internal})
    return StudySets(internal, external, tuple(kinds))


def _write_set(one: StudyData, folder: Path, seed: int) -> None:
    chosen: dict[str, list[IndexedPicture]] = {TRAIN: [], VAL: []}
    for split in (TRAIN, VAL) if one.role == "internal" else (VAL,):
        rows = [row for row in read_index(one.folder, split) if fnmatchcase(row.sample, one.images)]
        if not rows:
            raise DataError(
                f"{one.folder} has no picture {one.images} of split {split}",
                expected="one or more",
                fix="correct the recipe",
            )
        chosen[split] = rows
    if one.cases and len(chosen[VAL]) > one.cases:
        rng = generator_for(one.name, "", seed)
        kept = sorted(rng.choice(len(chosen[VAL]), one.cases, replace=False).tolist())
        chosen[VAL] = [chosen[VAL][k] for k in kept]
    listed = [(split, row) for split, of in chosen.items() for row in of]
    names = listed[0][1].names
    if one.targets:
        names = tuple(_name_labels(one.targets, [row for _, row in listed]))
    if names:
        _write(folder / "labels.csv", [("label", "name"), *names])
    # the index comes last: it says that all is there
    _write(folder / "index.csv", [COLUMNS, *(_line(row, split) for split, row in listed)])


def _line(row: IndexedPicture, split: str) -> tuple[str, ...]:
    return str(row.image.resolve()), str(row.mask.resolve()), row.group, row.mask_kind, split


def _name_labels(names: str | Mapping[str, str], rows: Sequence[IndexedPicture]) -> list[tuple[int, str]]:
    if not isinstance(names, str):
        return [(int(label), name) for label, name in names.items()]
    found = {int(label) for row in rows for label in np.unique(read_mask(row.mask).labels)} - {0}
    return [(label, names) for label in sorted(found)]


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    write_text(path, format_rows(rows))


def write_sized_sets(recipe: StudyRecipe, sets: StudySets, size: int, folder: Path) -> tuple[str, ...]:
    """Write data of some size to learn from: lists of a store, or folders that keep their shares; smaller are parts of larger.

    Args:
        recipe: Of the study.
        sets: Of the whole study.
        size: Pairs of a store, or pictures of folders.
        folder: Where they go.

    Returns:
        What a training run takes as data.

    Raises:
        DataError: more than there are.
    """
    if recipe.store:
        from medsam.data.store.reading import Store
        from medsam.data.subset import write_subsets

        return (
            str(write_subsets(Store(recipe.store), [size], folder, split=recipe.train_split, seed=recipe.seed)[0][0]),
        )
    rows = {place: read_index(place, TRAIN) for place in sets.internal}
    total = sum(map(len, rows.values()))
    if size > total:
        raise DataError(f"{size} training pictures", expected=f"at most the {total} there are", fix="correct sizes")
    written = []
    for place, of in rows.items():
        order = generator_for(place.name, "", recipe.seed, 1).permutation(len(of)).tolist()
        kept = [of[k] for k in order[: max(1, round(size * len(of) / total))]]
        names = kept[0].names
        if names:
            _write(folder / place.name / "labels.csv", [("label", "name"), *names])
        _write(folder / place.name / "index.csv", [COLUMNS, *(_line(row, TRAIN) for row in kept)])
        written.append(str(folder / place.name))
    return tuple(written)
