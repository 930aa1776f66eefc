"""What is compared: models here, predictions made elsewhere and Python objects, all asked with the same prompts.

Shapes: N targets, H rows, W columns of the slice.
"""

from __future__ import annotations

import importlib
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medsam.errors import DataError, InputFileError, MedsamError
from medsam.evaluation.evaluate import PromptedPicture
from medsam.evaluation.measure import (
    Answer,
    E,
    Score,
    Segmenter,
    Subject,
    decode_targets,
    name_unit,
    score_answer,
    score_fault,
)
from medsam.evaluation.memory import read_peak_memory, reset_peak_memory
from medsam.files.atomic import replacing
from medsam.imaging.image import Grid
from medsam.io.formats import read_mask
from medsam.io.guard import guarded
from medsam.io.placement import lay_on_grid
from medsam.io.suffixes import find_stem

SUFFIXES = (".npz", ".png", ".nii.gz", ".nii")
MASKS = "masks"  # the array of an npz of one mask a target, as save_masks names it


@dataclass(frozen=True, eq=False)
class Comparator:
    """One of the models of an evaluation.

    Args:
        name: As tables call it.
        weights: What tells these weights or predictions from others of the same name.
        answer: Gives the masks of a picture's targets; whatever it raises is a fault of that picture.
    """

    name: str
    weights: str
    answer: Callable[[PromptedPicture], Answer]


def compare_segmenter(name: str, weights: str, segmenter: Segmenter[E]) -> Comparator:
    """Make a comparator of anything that embeds and decodes; the further prompts of a picture share its embedding."""
    last: list[tuple[NDArray[np.uint8], E]] = []

    def answer(picture: PromptedPicture) -> Answer:
        start = time.perf_counter()
        if not last or last[0][0] is not picture.slice_rgb:
            last.clear()
            last.append((picture.slice_rgb, segmenter.embed(picture.slice_rgb)))
        return decode_targets(segmenter, last[0][1], picture.targets, start)

    return Comparator(name, weights, answer)


def compare_object(name: str, place: str) -> Comparator:
    """Make a comparator of a Python object.

    Args:
        name: As tables call it.
        place: "module:function"; the function takes nothing and gives a Segmenter. The folder that the command runs in
            is searched too.

    Raises:
        DataError: no such module or function, or what it gives lacks embed or decode.
    """
    module, _, function = place.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError) as error:
        raise DataError(
            f"{place} could not be called ({type(error).__name__})",
            expected="module:function that takes nothing and gives a Segmenter",
            fix="check both names, and run the command where the module lies",
        ) from error
    finally:
        sys.path.pop(0)
    if not (callable(getattr(made, "embed", None)) and callable(getattr(made, "decode", None))):
        raise DataError(
            f"{place} gave a {type(made).__name__}",
            expected="an object with embed and decode",
            fix="give it the methods of medsam.evaluation.measure.Segmenter",
        )
    return compare_segmenter(name, f"object {place}", made)


def compare_predictions(name: str, folder: Path) -> Comparator:
    """Make a comparator of masks made elsewhere: FOLDER/DATASET/SAMPLE.png (or .npz, .nii.gz), or FOLDER/SAMPLE.png.

    A slice is answered from the prediction of its volume, or from one of its own, FOLDER/DATASET/VOLUME[number].npz.

    A label map answers a prompt with the pixels of the target's class inside its box, or with the component under its
    click. An npz with the array `masks` (N, H, W) has one mask a target and is taken as it is.

    Raises:
        DataError: the folder is none, or is empty.
    """
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES))
    if not files:
        raise DataError(
            f"{folder} holds no predictions", expected=f"files of {', '.join(SUFFIXES)}", fix="check the folder"
        )
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    weights = f"{len(files)} files, {sum(size for size, _ in stamps)} bytes, {max(time for _, time in stamps)}"

    def answer(picture: PromptedPicture) -> Answer:
        start = time.perf_counter()
        masks_NHW = _read_prediction(_find_prediction(folder, picture), picture)
        scores_N = np.full(len(masks_NHW), math.nan, np.float32)
        return Answer(masks_NHW, scores_N, time.perf_counter() - start)

    return Comparator(name, weights, answer)


def _find_prediction(folder: Path, picture: PromptedPicture) -> Path:
    volume = () if picture.volume is None else (picture.volume[0], find_stem(picture.volume[0]))
    stems = dict.fromkeys((picture.sample, Path(picture.sample).stem, *volume))
    for place in (folder / picture.dataset, folder):
        for stem in stems:
            for suffix in SUFFIXES:
                if (place / f"{stem}{suffix}").is_file():
                    return place / f"{stem}{suffix}"
    raise InputFileError("no prediction", expected="one a picture", fix="predict this picture too")


def _read_prediction(path: Path, picture: PromptedPicture) -> NDArray[np.bool_]:
    """One mask a target, (N, H, W)."""
    if path.suffix == ".npz" and _is_stack(path):
        return load_masks(path)
    if picture.volume is not None:
        labels_DHW = _read_volume(path, picture.volume[1])
        labels_HW = labels_DHW[picture.number]
    else:
        labels_DHW, shape = read_mask(path).labels, picture.slice_rgb.shape[:2]
        if labels_DHW.shape != (1, *shape):
            raise DataError(
                f"a prediction of {labels_DHW.shape} pixels where the picture has {(1, *shape)}",
                expected="the picture's grid", fix="predict on it",
            )  # fmt: skip
        labels_HW = labels_DHW[0]
    _refuse_other_labels(labels_DHW, picture)
    return np.stack([_pick_target(labels_HW, picture, number, k) for k, number in enumerate(picture.targets.masks)])


def _refuse_other_labels(labels: np.ndarray, picture: PromptedPicture) -> None:
    """Refuse a label map of which no class is one of those that are asked for: most likely it numbers them otherwise."""
    wanted = set(picture.targets.labels.values())
    there = {int(label) for label in np.unique(labels)} - {0}
    if there and 0 not in wanted and not there & wanted:
        raise DataError(
            f"a prediction of the labels {', '.join(map(str, sorted(there)[:5]))} where the expert has "
            f"{', '.join(map(str, sorted(wanted)[:5]))}",
            expected="the class ids of the expert", fix="number the classes alike",
        )  # fmt: skip


@lru_cache(maxsize=1)
def _read_volume(path: Path, grid: Grid) -> np.ndarray:
    """The labels (D, H, W) of a predicted volume, on the grid of its image; a part of it is no answer to the rest."""
    mask = read_mask(path)
    if sorted(mask.grid.shape) != sorted(grid.shape):
        raise DataError(
            f"a prediction of {mask.grid.shape} voxels where the scan has {grid.shape}",
            expected="the scan's grid", fix="predict on it",
        )  # fmt: skip
    return lay_on_grid(mask, grid).labels


def _pick_target(labels_HW: np.ndarray, picture: PromptedPicture, number: int, k: int) -> NDArray[np.bool_]:
    """What a label map says to one prompt."""
    targets = picture.targets
    label = targets.labels.get(number, 0)
    if targets.points is not None:
        column, row = (round(v) for v in targets.points[k][0])
        components, _ = ndimage.label(labels_HW == (label or labels_HW[row, column]))
        found: NDArray[np.bool_] = (components == components[row, column]) & bool(labels_HW[row, column])
        return found & (labels_HW == label) if label else found
    if targets.boxes_N4 is None:
        raise DataError("neither boxes nor clicks", expected="a prompt a target", fix="prompt the targets first")
    x0, y0, x1, y1 = targets.boxes_N4[k].tolist()
    window = (slice(max(0, math.floor(y0)), math.ceil(y1) + 1), slice(max(0, math.floor(x0)), math.ceil(x1) + 1))
    if not label:  # an instance: the one that fills most of the box
        counts = np.bincount(labels_HW[window].reshape(-1).astype(np.int64), minlength=2)
        largest = int(counts[1:].argmax()) + 1
        return np.asarray(labels_HW == largest)
    found = np.zeros(labels_HW.shape, bool)
    found[window] = labels_HW[window] == label
    return found


def measure_comparator(
    comparator: Comparator, picture: PromptedPicture, *, timeout_seconds: float | None = None, legacy: bool = False
) -> tuple[list[Score], NDArray[np.bool_] | None]:
    """Measure one model on one picture; where it raises or takes too long, its targets get rows with the reason.

    Args:
        comparator: The model.
        picture: What it is asked.
        timeout_seconds: Longest that it may take; None sets no limit.
        legacy: NSD as in the released scripts.

    Returns:
        One Score a target, and the masks (N, H, W), None where there are none.
    """
    subject = Subject(picture.dataset, picture.modality, picture.sample, picture.group, comparator.name, picture.prompt)
    known = reset_peak_memory()
    start = time.perf_counter()
    try:
        with _time_limit(timeout_seconds):
            answer = comparator.answer(picture)
        memory_mb = read_peak_memory() if known else math.nan
        scores = score_answer(
            answer, picture.targets, subject, hausdorff=True, legacy=legacy, spacing_mm=picture.spacing_mm
        )
    except MedsamError as error:
        reason = error.got
    except _TooSlowError:
        reason = f"no answer within {timeout_seconds:g} s"
    except Exception as error:  # noqa: BLE001 - somebody else's model; by its type, the text may quote the file
        reason = f"the model failed ({type(error).__name__})"
    else:
        return [replace(score, memory_mb=memory_mb) for score in scores], np.asarray(answer.masks_NHW, dtype=bool)
    seconds = time.perf_counter() - start
    return score_fault(reason, picture.targets, subject, seconds, unit=name_unit(picture.spacing_mm)), None


class _TooSlowError(Exception):
    """The time is over."""


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        raise DataError("a time limit", expected="the main thread of a POSIX system", fix="leave --timeout-seconds out")

    def stop(*_: object) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def save_masks(path: Path, masks_NHW: NDArray[np.bool_]) -> None:
    """Write the masks of a picture as the npz that a folder of predictions may hold.

    Raises:
        OutputError: the disk refused.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, masks=masks_NHW)


def load_masks(path: Path) -> NDArray[np.bool_]:
    """Read the masks of a picture, (N, H, W).

    Raises:
        InputFileError: the file is damaged or holds no such array.
    """
    with guarded(path, "an npz of masks"), np.load(path, allow_pickle=False) as arrays:
        masks_NHW: NDArray[np.bool_] = arrays[MASKS].astype(bool)
    return masks_NHW


def _is_stack(path: Path) -> bool:
    with guarded(path, "an npz file"), np.load(path, allow_pickle=False) as arrays:
        return MASKS in arrays.files
