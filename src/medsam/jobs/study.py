"""The paper's studies by one recipe: data prepared, models trained, measured and reported in order; every step goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from medsam.engine import run
from medsam.errors import DataError
from medsam.evaluation.evaluate import EvaluationProtocol
from medsam.evaluation.segmenters import WEIGHTS
from medsam.files.atomic import write_json
from medsam.files.lock import hold_folder
from medsam.jobs.evaluate import EvaluateRequest, evaluate
from medsam.jobs.report import ReportRequest, ReportResult, report
from medsam.jobs.study_data import TRAIN, VAL, StudySets, prepare_data, write_sized_sets
from medsam.jobs.study_recipe import Kind, StudyModel, StudyRecipe
from medsam.jobs.study_training import (
    TrainingShard,
    find_class,
    list_shards,
    tabulate_training,
    train_in_time,
    train_shard,
)

RECORD = "study.json"  # the recipe with which a folder was begun
FREE = ("max_hours", "engine", "workers", "address", "rounds", "worst", "times", "prompts", "tasks", "sizes")
Say = Callable[[str], None]


@dataclass(frozen=True)
class StudyResult:
    """What came out of a study.

    Args:
        finished: Whether all steps were done.
        page: Of the report; None where it was not reached.
        ranks: Ranks by Dice as Markdown.
        failed: Rows that count as failed.
    """

    finished: bool
    page: Path | None = None
    ranks: str = ""
    failed: int = 0


@dataclass(frozen=True)
class _Part:
    """One run of medsam evaluate: its name, its data and its models by their words."""

    name: str
    folders: tuple[Path, ...]
    store: str
    split: str | None
    models: tuple[str, ...]
    protocol: EvaluationProtocol


@dataclass
class _Study:
    kind: Kind
    recipe: StudyRecipe
    output: Path
    say: Say
    sets: StudySets
    began: float = field(default_factory=time.time)
    shards: list[TrainingShard] = field(default_factory=list)

    @property
    def end(self) -> float:
        """When the time of the recipe is over, in seconds since the epoch."""
        return self.began + 3600 * self.recipe.max_hours if self.recipe.max_hours else math.inf

    @property
    def late(self) -> bool:
        """Whether the time of the recipe is over."""
        return time.time() > self.end

    @property
    def learns_from(self) -> tuple[tuple[str, ...], str]:
        """Data and split to learn from."""
        if self.recipe.store:
            return (self.recipe.store,), self.recipe.train_split
        return tuple(map(str, self.sets.internal)), TRAIN


def run_study(kind: Kind, recipe: StudyRecipe, output: Path, *, say: Say) -> StudyResult:
    """Run a study, or go on with it; models and rows that are there are taken as they are.

    Args:
        kind: Which of the paper's studies.
        recipe: From study_recipe.read_recipe.
        output: Folder of data/, train/, runs/ and report-KIND/; several studies of one recipe share it.
        say: Told about every step.

    Raises:
        DataError: the folder was begun with another recipe.
        MedsamError: as the steps.
    """
    output.mkdir(parents=True, exist_ok=True)
    with hold_folder(output):
        _hold_to_recipe(recipe, output)
        say("prepare the data")
        study = _Study(kind, recipe, output, say, prepare_data(recipe, output / "data"))
        parts = _plan(study)
        if not _train(study):
            return StudyResult(finished=False)
        for part in parts:
            if study.late:
                return StudyResult(finished=False)
            _measure(study, part)
        result = _report(study, parts)
    return StudyResult(True, result.page, result.ranks, result.failed)


def _hold_to_recipe(recipe: StudyRecipe, output: Path) -> None:
    """Refuse a folder of other data or models; what only adds runs may change."""
    record = {name: value for name, value in json.loads(json.dumps(asdict(recipe))).items() if name not in FREE}
    path = output / RECORD
    if path.is_file():
        begun = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in record if record[name] != begun.get(name))
        if changed:
            raise DataError(
                f"{output} was begun with other {', '.join(changed)}",
                expected="the same recipe",
                fix="choose another -o",
            )
    write_json(path, record)


def _plan(study: _Study) -> list[_Part]:
    """The evaluations of a study; what must be trained for them is noted in study.shards."""
    recipe, kind = study.recipe, study.kind
    protocol = EvaluationProtocol(
        split=VAL, noise=recipe.noise, seed=recipe.seed, max_targets=recipe.max_targets or None
    )
    if kind == "task-specific":
        return list(_plan_tasks(study, protocol))
    if kind == "prompts":
        protocol = replace(protocol, prompts=recipe.prompts)
    if kind == "annotation":
        protocol = replace(protocol, prompts=("axes", "box"))
    models = _plan_sizes(study) if kind == "data-size" else tuple(_plan_model(study, one) for one in recipe.models)
    prefix = "" if kind in ("internal", "external") else f"{kind}/"
    split = recipe.test_split if recipe.store else VAL
    inside = _Part(
        f"{prefix}internal", study.sets.internal, recipe.store, split, models, replace(protocol, split=split)
    )
    parts = [inside]
    if kind in ("external", "data-size", "prompts") and (study.sets.external or recipe.external_store):
        far = (recipe.external_split or None) if recipe.store else VAL
        parts.append(
            _Part(
                f"{prefix}external",
                study.sets.external,
                recipe.external_store,
                far,
                models,
                replace(protocol, split=far),
            )
        )
    return parts


def _plan_model(study: _Study, model: StudyModel, name: str = "", data: Sequence[str] = ()) -> str:
    """A model by its word; what must be trained is noted."""
    called = name or model.name
    if not model.trained:
        return f"{called}={model.model or model.name}"
    default, split = study.learns_from
    folder = study.output / "train" / called
    whole = TrainingShard(replace(model, name=called), tuple(data or default), split, folder, seed=study.recipe.seed)
    study.shards += list_shards(whole, study.sets.modalities)
    return f"{called}={folder / WEIGHTS}" if model.recipe else f"{called}=specialists:{folder}"


def _plan_sizes(study: _Study) -> tuple[str, ...]:
    words = []
    for model in study.recipe.models:
        if not model.trained:
            words.append(_plan_model(study, model))
            continue
        for size in study.recipe.sizes:
            data = write_sized_sets(study.recipe, study.sets, size, study.output / f"data-{size}")
            words.append(_plan_model(study, model, f"{model.name}@{size}", data))
    return tuple(words)


def _plan_tasks(study: _Study, protocol: EvaluationProtocol) -> Iterator[_Part]:
    """One run a task, in which trained networks are those of the task alone."""
    recipe = study.recipe
    places = {place.name: place for place in study.sets.internal}
    for task in recipe.tasks:
        dataset, _, target = task.partition("/")
        if not recipe.store and dataset not in places:
            raise DataError(f"the task {task}", expected=f"a data set of {', '.join(places)}", fix="correct tasks")
        words = []
        for model in recipe.models:
            if not model.trained:
                words.append(f"{model.name}={model.model or model.name}")
                continue
            folder = study.output / "train-tasks" / model.name / task.replace("/", "-").replace(" ", "-")
            data = (recipe.store,) if recipe.store else (str(places[dataset]),)
            label = target if recipe.store or not target else find_class(places[dataset], target)
            study.shards.append(
                TrainingShard(
                    model,
                    data,
                    study.learns_from[1],
                    folder,
                    dataset="" if "*" in dataset else dataset,
                    target=label,
                    seed=recipe.seed,
                )
            )
            words.append(f"{model.name}={folder if model.engine == 'nnunet' else folder / WEIGHTS}")
        split = recipe.test_split if recipe.store else VAL
        name = "task-specific/" + task.replace("/", "-").replace(" ", "-")
        folders = () if recipe.store else (places[dataset],)
        yield _Part(name, folders, recipe.store, split, tuple(words), replace(protocol, split=split, tasks=(task,)))


def _train(study: _Study) -> bool:
    """Train what is not trained yet; False where time or a signal stopped it."""
    waiting = [shard for shard in study.shards if not shard.is_done]
    recipe = study.recipe
    if recipe.engine == "local":
        for shard in waiting:
            if study.late:
                return False
            study.say(f"train {shard.folder.relative_to(study.output)}")
            if not train_shard(shard):
                return False
        return True
    study.say(f"train {len(waiting)} models")
    done = run(
        train_in_time, [(shard, study.end) for shard in waiting], engine=recipe.engine, workers=recipe.workers or None,
        address=recipe.address or None,
    )  # fmt: skip
    return all(list(done))


def _measure(study: _Study, part: _Part) -> None:
    study.say(f"measure {part.name}")
    recipe = study.recipe
    evaluate(
        EvaluateRequest(
            part.folders, study.output / "runs" / part.name, part.protocol, store=Path(part.store) if part.store else None,
            models=part.models, keep_masks=recipe.keep_pictures, engine=recipe.engine, workers=recipe.workers or None,
            address=recipe.address or None,
        )
    )  # fmt: skip


def _report(study: _Study, parts: Sequence[_Part]) -> ReportResult:
    study.say("report")
    recipe = study.recipe
    runs = [study.output / "runs" / part.name for part in parts]
    tables = (tabulate_training(study.shards),) if study.shards else ()
    return report(
        ReportRequest(
            runs, study.output / f"report-{study.kind}", worst=recipe.worst, seed=recipe.seed, rounds=recipe.rounds,
            overwrite=True, times=Path(recipe.times) if study.kind == "annotation" else None, tables=tables,
        )
    )  # fmt: skip
