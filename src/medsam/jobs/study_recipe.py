"""The recipe of a study in TOML: its data, its models, its prompts and sizes, and how long it may take."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from medsam.engine import Engine
from medsam.errors import DataError
from medsam.io.text import read_text

Kind = Literal["internal", "external", "data-size", "task-specific", "prompts", "annotation"]
T = TypeVar("T")
MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class StudyData:
    """A data set of a study: a folder with index.csv, or some of its images.

    Args:
        folder: Holds index.csv.
        name: Of the data set; its first word tells the modality.
        role: "internal" sets are learnt from (train) and measured on (val); "external" ones are measured on alone (val).
        images: Pattern of the file names that belong to it.
        targets: What the class ids are: one name for all, or a name for each; "" leaves what labels.csv says.
        cases: Most pictures that are measured, chosen by the seed; 0 takes all.
    """

    folder: str
    name: str
    role: Literal["internal", "external"] = "internal"
    images: str = "*"
    targets: str | Mapping[str, str] = ""
    cases: int = 0


@dataclass(frozen=True)
class StudyModel:
    """A model of a study: one that is there, a family of specialists, or one trained by a recipe of medsam train.

    Args:
        name: As tables call it.
        model: As medsam evaluate takes it; the name without it.
        network: "unet" or "deeplabv3plus" trains specialists, one of each modality; "" trains none.
        engine: Of a U-Net: our own loop, or nnU-Net itself.
        recipe: Of medsam train, whose data become those of the study; "" trains none.
        epochs: Of a specialist; 0 is the paper's number.
        steps_per_epoch: As medsam baseline train.
        batch_size: As medsam baseline train.
        patch_px: As medsam baseline train.
        memory_gb: As medsam baseline train.
        encoder: As medsam baseline train.
        augmentation: As medsam baseline train; "" is the network's own.
    """

    name: str
    model: str = ""
    network: Literal["", "unet", "deeplabv3plus"] = ""
    engine: Literal["builtin", "nnunet"] = "builtin"
    recipe: str = ""
    epochs: int = 0
    steps_per_epoch: int = 0
    batch_size: int = 0
    patch_px: int = 0
    memory_gb: float = 8.0
    encoder: str = ""
    augmentation: Literal["", "none", "light", "strong"] = ""

    @property
    def trained(self) -> bool:
        """Whether the study trains it."""
        return bool(self.network or self.recipe)


@dataclass(frozen=True)
class StudyRecipe:
    """Everything that decides a study.

    Args:
        data: Data sets; none where a store is named.
        models: At least one.
        store: Training store: internal data.
        train_split: Rows of the store to learn from.
        test_split: Rows of the store to measure on.
        external_store: Store of external data.
        external_split: Rows of it; "" takes all.
        tasks: Of the task-specific study, "DATASET/TARGET" of each specialist; of a store, DATASET may be *.
        sizes: Of the data-size study: training pictures (folders) or pairs (store) of each model.
        prompts: Of the prompts study, the first for the tables.
        times: Of the annotation study: CSV with columns expert, pipeline, case and seconds.
        max_targets: Most targets of a picture; 0 takes all.
        seed: Of every choice, of training and of the bootstrap.
        noise: How sides of the box move.
        rounds: Of the bootstrap.
        worst: Cases of each model that are pictured; 0 takes all.
        keep_pictures: Whether masks are kept for the pictures of cases.
        max_hours: After which no further step begins; 0 sets no limit.
        engine: Where pictures are measured.
        workers: Of the engine; 0 takes all cores.
        address: Of a Ray cluster.
    """

    data: tuple[StudyData, ...]
    models: tuple[StudyModel, ...]
    store: str = ""
    train_split: str = "train"
    test_split: str = "test"
    external_store: str = ""
    external_split: str = ""
    tasks: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    prompts: tuple[str, ...] = ("box",)
    times: str = ""
    max_targets: int = 20
    seed: int = 0
    noise: Literal["enlarge", "both"] = "enlarge"
    rounds: int = 2000
    worst: int = 20
    keep_pictures: bool = True
    max_hours: float = 0.0
    engine: Engine = "local"
    workers: int = 0
    address: str = ""


def read_recipe(path: Path, kind: Kind) -> StudyRecipe:
    """Read a recipe and see that it has what a study needs.

    Raises:
        DataError: not TOML, an unknown or missing key, or something that this kind of study needs is not there.
    """
    try:
        raw = tomllib.loads(read_text(path, "a recipe in TOML", max_bytes=MAX_BYTES))
        data = tuple(_build(StudyData, one) for one in raw.pop("data", []))
        models = tuple(_build(StudyModel, one) for one in raw.pop("models", []))
        recipe = _build(StudyRecipe, {**raw, "data": data, "models": models})
    except (tomllib.TOMLDecodeError, TypeError, AttributeError) as error:
        raise DataError(
            f"the recipe {path} cannot be read ({error!s:.100})", expected="TOML as in recipes/study-*.toml",
            fix="correct it",
        ) from None  # fmt: skip
    _refuse_gaps(recipe, kind)
    return recipe


def _build(kind: type[T], raw: Mapping[str, Any]) -> T:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(raw) - known)
    if unknown:
        raise DataError(
            f"the recipe has the key {unknown[0]}", expected=f"one of {', '.join(sorted(known))}", fix="correct it"
        )
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in raw.items()})


def _refuse_gaps(recipe: StudyRecipe, kind: Kind) -> None:
    names = [*(one.name for one in recipe.data), *(one.name for one in recipe.models)]
    doubles = sorted({name for name in names if names.count(name) > 1})
    external = any(one.role == "external" for one in recipe.data) or bool(recipe.external_store)
    for wrong, got, expected in (
        (bool(doubles), f"two entries named {', '.join(doubles)}", "one of each name"),
        (not recipe.models, "no [[models]]", "one or more"),
        (not recipe.data and not recipe.store, "no [[data]] and no store", "either"),
        (bool(recipe.data) and bool(recipe.store), "[[data]] beside a store", "one of them"),
        (kind == "external" and not external, "no external data", 'role = "external", or external_store'),
        (kind == "data-size" and not recipe.sizes, "no sizes", "sizes = [1000, 10000]"),
        (kind == "data-size" and not any(one.trained for one in recipe.models), "no model to train", "a network or recipe"),
        (kind == "task-specific" and not recipe.tasks, "no tasks", 'tasks = ["ct_liver/liver"]'),
        (kind == "prompts" and len(recipe.prompts) < 2, "one prompt", 'prompts = ["box", "margin+20"]'),
        (kind == "annotation" and not recipe.times, "no times", 'times = "times.csv"'),
    ):  # fmt: skip
        if wrong:
            raise DataError(f"the recipe has {got}", expected=expected, fix="correct the recipe (docs/evaluation.md)")
