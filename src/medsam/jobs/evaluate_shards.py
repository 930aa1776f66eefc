"""A part of an evaluation that one worker does: some pictures, asked of the models that have not answered them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError
from medsam.evaluation.clicks import add_clicks
from medsam.evaluation.comparators import (
    Comparator,
    compare_object,
    compare_predictions,
    compare_segmenter,
    measure_comparator,
    save_masks,
)
from medsam.evaluation.evaluate import EvaluationProtocol, PromptedPicture, prompt_pictures
from medsam.evaluation.index import IndexedPicture
from medsam.evaluation.measure import Score
from medsam.evaluation.metrics import dice
from medsam.evaluation.prompting import parse_prompt
from medsam.evaluation.stored import StoredPicture
from medsam.evaluation.volumes import VolumeAnswers, prompt_slices, read_volume
from medsam.jobs.options import ModelOptions

MASKS_FOLDER = "masks"  # of a run: masks/MODEL/DATASET/SAMPLE.npz
PREDICTIONS, SPECIALISTS = "predictions:", "specialists:"
PictureRow = IndexedPicture | StoredPicture
Waiting = tuple[tuple[str, str], ...]  # (model, prompt) of the answers that are asked for


@dataclass(frozen=True, eq=False)
class EvaluationShard:
    """Some pictures of an evaluation.

    Args:
        rows: The pictures.
        waiting: Of each picture, the answers that are asked for.
        protocol: How targets are chosen and prompted.
        models: As load_comparators.
        options: How models run.
        timeout_seconds: Longest that a model may take for a picture; None sets no limit.
        output: Folder of the run, where masks of the first prompt go; None keeps none.
    """

    rows: tuple[PictureRow, ...]
    waiting: tuple[Waiting, ...]
    protocol: EvaluationProtocol
    models: tuple[str, ...] | None
    options: ModelOptions
    timeout_seconds: float | None
    output: Path | None


def measure_shard(shard: EvaluationShard) -> list[Score]:
    """Measure the pictures and volumes of a shard; done again it gives the same rows and writes the same masks.

    Returns:
        A row for each target; of a volume first those of its slices, then those of the whole.

    Raises:
        MedsamError: a picture cannot be read, or a model cannot be loaded.
    """
    comparators = {one.name: one for one in load_comparators(shard.models, shard.options)}
    scores: list[Score] = []
    for row, waiting in zip(shard.rows, shard.waiting, strict=True):
        if isinstance(row, IndexedPicture) and row.is_volume:
            scores += _measure_volume(row, waiting, comparators, shard)
            continue
        for _, found, _ in _ask(prompt_pictures(row, shard.protocol), waiting, comparators, shard):
            scores += found
    return scores


def _measure_volume(
    row: IndexedPicture, waiting: Waiting, comparators: Mapping[str, Comparator], shard: EvaluationShard
) -> list[Score]:
    volume = read_volume(row)
    answers: dict[tuple[str, str], VolumeAnswers] = {}
    scores: list[Score] = []
    for pictures in prompt_slices(volume, shard.protocol):
        for picture, found, masks_NHW in _ask(pictures, waiting, comparators, shard):
            scores += found
            key = found[0].method, found[0].prompt
            answers.setdefault(key, VolumeAnswers(volume, *key)).add(picture, found, masks_NHW)
    legacy = shard.protocol.nsd == "legacy"
    return [*scores, *(score for one in answers.values() for score in one.score(legacy=legacy))]


def _ask(
    prompted: Sequence[PromptedPicture],
    waiting: Waiting,
    comparators: Mapping[str, Comparator],
    shard: EvaluationShard,
) -> Iterator[tuple[PromptedPicture, list[Score], NDArray[np.bool_] | None]]:
    """The rows and masks of one picture, by model and prompt; masks of the first prompt are kept on disk."""
    pictures = {picture.prompt: picture for picture in prompted}
    first: dict[str, NDArray[np.bool_]] = {}  # of each model, its masks of the first prompt
    for name, prompt in waiting:
        if prompt not in pictures:
            continue
        picture = pictures[prompt]
        for found, masks_NHW in _answer(comparators[name], picture, shard):
            if prompt == shard.protocol.prompts[0]:
                if masks_NHW is not None:
                    first[name] = masks_NHW
                    if shard.output is not None:
                        save_masks(locate_mask(shard.output, name, picture.dataset, picture.sample), masks_NHW)
            elif masks_NHW is not None and name in first:
                agreed = [dice(a, b) for a, b in zip(masks_NHW, first[name], strict=True)]
                yield picture, [replace(s, agreement=v) for s, v in zip(found, agreed, strict=True)], masks_NHW
                continue
            yield picture, found, masks_NHW


def _answer(
    comparator: Comparator, picture: PromptedPicture, shard: EvaluationShard
) -> Iterator[tuple[list[Score], NDArray[np.bool_] | None]]:
    """The rows of a prompt, and of every round where clicks correct the answer."""
    rounds = parse_prompt(picture.prompt).rounds
    clicking = parse_prompt(picture.prompt).kind == "clicks"
    for number in range(1, rounds + 1):
        asked = replace(picture, prompt=f"clicks{number}") if clicking else picture
        found, masks_NHW = measure_comparator(
            comparator, asked, timeout_seconds=shard.timeout_seconds, legacy=shard.protocol.nsd == "legacy"
        )
        yield found, masks_NHW
        if masks_NHW is not None and number < rounds:
            picture = replace(picture, targets=add_clicks(picture.targets, masks_NHW))


@lru_cache(maxsize=2)
def load_comparators(models: tuple[str, ...] | None, options: ModelOptions) -> tuple[Comparator, ...]:
    """Load the models that are compared, once a process.

    Args:
        models: As load_comparator takes them; None is the one of the options.
        options: How models run.

    Raises:
        DataError: none, two of one name, or --model beside them.
        MedsamError: as load_comparator.
    """
    if models is None:
        return (_compare_model("", options),)
    if options.model is not None:
        raise DataError("both --model and --models", expected="one of them", fix="name all models in --models")
    if not models:
        raise DataError("no model", expected="one or more", fix="name them in --models, separated by commas")
    comparators = tuple(load_comparator(text, options) for text in models)
    refuse_doubles([one.name for one in comparators], "models", "rename one, as --models other=MODEL")
    return comparators


def load_comparator(text: str, options: ModelOptions) -> Comparator:
    """Load one of the models that are compared.

    Args:
        text: A catalog name or a weights file, "predictions:FOLDER", "specialists:FOLDER" (one of each modality, in a folder
            of its name) or "module:function"; "NAME=" before it renames it.
        options: How a model of a name or a file runs.

    Raises:
        DataError, ModelUnavailableError, CheckpointError: it is none of them.
    """
    given, equals, place = text.partition("=")
    name, place = (given, place) if equals else ("", text)
    if place.startswith(PREDICTIONS):
        folder = Path(place.removeprefix(PREDICTIONS))
        return compare_predictions(name or folder.resolve().name, folder)
    if place.startswith(SPECIALISTS):
        from medsam.evaluation.segmenters import compare_specialists

        folder = Path(place.removeprefix(SPECIALISTS))
        return compare_specialists(name or folder.resolve().name, folder, device=options.device)
    module, colon, function = place.partition(":")
    if colon and function.isidentifier() and all(part.isidentifier() for part in module.split(".")):
        return compare_object(name or place, place)
    return _compare_model(name, replace(options, model=place))


def _compare_model(name: str, options: ModelOptions) -> Comparator:
    from medsam.evaluation.segmenters import load_segmenter

    loaded = load_segmenter(options.model, device=options.device, precision=options.precision, runtime=options.runtime)
    return compare_segmenter(name or loaded.name, loaded.weights, loaded.segmenter)


def refuse_doubles(names: Sequence[str], what: str, fix: str) -> None:
    """Refuse a name that two of them have.

    Raises:
        DataError: there is one.
    """
    doubles = sorted({name for name in names if names.count(name) > 1})
    if doubles:
        raise DataError(f"two {what} named {doubles[0]}", expected="one of each name", fix=fix)


def locate_mask(run: Path, method: str, dataset: str, sample: str) -> Path:
    """Where a run keeps the masks that a model gave of a picture."""
    return run / MASKS_FOLDER / method.replace("/", "_") / dataset.replace("/", "_") / f"{sample}.npz"
