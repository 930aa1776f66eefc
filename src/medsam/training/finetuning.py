"""Fine-tuning on a user's cases: pair and split them, see that one batch can be learnt, train, compare."""

from __future__ import annotations

import copy
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from medsam.errors import DataError, OutputError
from medsam.inference.predictor import Predictor
from medsam.inference.runtime import TorchRuntime, choose_device
from medsam.io.atomic import replacing
from medsam.io.formats import FORMATS
from medsam.models.checkpoint import load_checkpoint
from medsam.models.manifest import Manifest
from medsam.models.medsam import MedSAM
from medsam.training.base import load_base, new_manifest
from medsam.training.card import write_card
from medsam.training.config import TrainConfig
from medsam.training.dataset import Draws, join
from medsam.training.examples import write_examples
from medsam.training.features import stem_identity
from medsam.training.loop import CONFIG, CURVE, MODEL, Outcome, fit
from medsam.training.monitor import METRICS, draw, read_metrics
from medsam.training.objective import Objective
from medsam.training.parts import learning, prepare
from medsam.training.sources import Case, Source, case_of
from medsam.training.validation import Measure, Measured, Score, measure, pictures_of, summarised

SANITY_STEPS = 10
SANITY_IMAGES = 2
SANITY_FALL = 0.95
SUFFIXES = sorted({suffix for row in FORMATS for suffix in row.suffixes}, key=len, reverse=True)
COMPARISON, CASES = "comparison.json", "cases.json"


@dataclass(frozen=True)
class Comparison:
    """A model before and after, on the same targets with the same boxes.

    Args:
        targets: How many.
        better: How many of them have a higher Dice after.
        worse: How many a lower one.
        rows: What is compared; before; after.
        cases: Name of a case, its median Dice before and after.
    """

    targets: int
    better: int
    worse: int
    rows: tuple[tuple[str, float, float], ...]
    cases: tuple[tuple[str, float, float], ...]


def paired(images: Path, masks: Path, patient: str = "") -> list[Case]:
    """Images and the masks of the same name, whatever their suffixes.

    Args:
        images: Folder.
        masks: Folder.
        patient: Regular expression; what it finds in a name, or its first group, says whose case it is. Without one
            every file is a patient.

    Raises:
        DataError: a folder is missing, an image has no mask or several, there are fewer than two patients, or the
            expression is none or finds nothing in a name.
    """
    try:
        whose = re.compile(patient)
    except re.error as error:
        raise DataError(
            f"--patient {patient!r} is no regular expression ({error})", expected="one like '^[^_]+'", fix="correct it"
        ) from None
    found = {}
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder", expected="a folder of image files", fix="check the path")
        found[folder] = _by_name(folder)
    cases = []
    for name, image in sorted(found[images].items()):
        if name not in found[masks]:
            raise DataError(
                f"{image} has no mask in {masks}", expected=f"a file {name}.*", fix="add it or take the image out"
            )
        cases.append(Case(name, image, found[masks][name], _patient_of(name, whose)))
    patients = len({case.patient for case in cases})
    if patients < 2:
        what = f"{len(cases)} cases of {patients} patients" if patient else f"{len(cases)} cases"
        raise DataError(f"{what} in {images}", expected="two or more, one to measure on", fix="add cases")
    return cases


def _patient_of(name: str, whose: re.Pattern[str]) -> str:
    if not whose.pattern:
        return name
    found = whose.search(name)
    patient = found and (found[1] if whose.groups else found[0])
    if not patient:
        raise DataError(
            f"--patient {whose.pattern!r} finds nothing in {name!r}",
            expected="the patient in the name of every case",
            fix="correct it, or rename the files",
        )
    return patient


def unpaired(images: Path, masks: Path) -> list[str]:
    """What in the two folders is part of no case, each with the reason, for the user to know."""
    left = [f"{path} has a suffix that no reader knows" for folder in (images, masks) for path in _unknown(folder)]
    names = _by_name(images)
    return left + [f"{path} has no image in {images}" for name, path in _by_name(masks).items() if name not in names]


def _suffix(path: Path) -> str | None:
    """Of a file of a known format; a folder, as of a DICOM series, has none."""
    return "" if path.is_dir() else next((one for one in SUFFIXES if path.name.lower().endswith(one)), None)


def _shown(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _unknown(folder: Path) -> list[Path]:
    return [path for path in _shown(folder) if _suffix(path) is None]


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in _shown(folder):
        suffix = _suffix(path)
        if suffix is None:
            continue
        name = path.name[: len(path.name) - len(suffix)]
        if name in files:
            raise DataError(
                f"{folder} has {files[name].name} and {path.name}", expected="one file a case", fix="take one out"
            )
        files[name] = path
    return files


def split(cases: Sequence[Case], held_out: float, seed: int) -> tuple[list[Case], list[Case]]:
    """Cases to learn from and to measure on, by a hash of whose they are; at least one patient's of each.

    Raises:
        DataError: held_out is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise DataError(f"held_out is {held_out}", expected="more than 0 and less than 1", fix="pass --held-out 0.2")
    patients = sorted({case.patient for case in cases}, key=lambda name: zlib.crc32(f"{seed}/{name}".encode()))
    aside = set(patients[: min(max(1, round(len(patients) * held_out)), len(patients) - 1)])
    return [case for case in cases if case.patient not in aside], [case for case in cases if case.patient in aside]


def _claim(folder: Path, cases: Mapping[str, Sequence[str]], *, resume: bool) -> None:
    """Refuse a folder that has something else, or hold the cases of the run that goes on to those it began with."""
    record = folder / CASES
    if resume and record.is_file():
        if json.loads(record.read_text(encoding="utf-8")) != {key: list(names) for key, names in cases.items()}:
            raise DataError(
                f"the run in {folder} was begun with other cases, or divided otherwise",
                expected=f"those of {record}",
                fix="pass the folders, --held-out, --patient and --seed of the beginning, or start anew with another -o",
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} has files in it", expected="a new folder", fix="choose another -o, or --resume")


def finetune(
    config: TrainConfig,
    folder: Path,
    learn: Source,
    kept: Source,
    *,
    cases: Mapping[str, Sequence[str]],
    measures: Mapping[str, Measure],
    device: str | None,
    say: Callable[[str], None],
    resume: bool = False,
) -> Comparison | Outcome:
    """Check, train and compare; where the training was stopped, how far it is.

    Args:
        config: Of the run, without a tuning split.
        folder: Of the run.
        learn: What to learn from.
        kept: What to measure on, before and after.
        cases: Names of those learnt from and of those kept aside, for the record and for who goes on.
        measures: By name.
        device: As choose_device.
        say: Where to tell what happens.
        resume: Go on where the run was stopped.

    Raises:
        DataError: the loss of one batch does not fall, or the run that goes on was begun with other cases.
        OutputError: the folder has files in it.
    """
    _claim(folder, cases, resume=resume)
    model, base = load_base(config)
    manifest = new_manifest(base, config)
    where = choose_device(device)
    if not (folder / CONFIG).is_file():
        begun, ended = sanity(copy.deepcopy(model), Draws(learn, manifest, config), config, where)
        say(f"one batch can be learnt: loss {begun:.4f} -> {ended:.4f} in {SANITY_STEPS} steps")
    with replacing(folder / CASES) as temporary:
        temporary.write_text(json.dumps(cases, indent=1) + "\n", encoding="utf-8")
    before = list(measure(_predictor(model, manifest, where), kept, config, measures))
    outcome = fit(config, folder, model, manifest, learn, tune=None, measures=measures, resume=resume, device=device)
    if not outcome.finished:
        return outcome
    tuned, written = load_checkpoint(folder / MODEL)
    after = list(measure(_predictor(tuned, manifest, where), kept, config, measures))
    comparison = compare(*([score for one in part for score in one.scores] for part in (before, after)))
    with replacing(folder / COMPARISON) as temporary:
        temporary.write_text(json.dumps(asdict(comparison), indent=1) + "\n", encoding="utf-8")
    _remember(config, folder, {0: before, outcome.progress.step: after}, list(measures))
    write_card(folder, config, written, learn, outcome.progress, measured_on="cases kept aside")
    return comparison


def _remember(config: TrainConfig, folder: Path, measured: Mapping[int, Sequence[Measured]], names: list[str]) -> None:
    """Write what was measured before and after as a run with a tuning split does: metrics, sheets, curves."""
    lines = [summarised(step, [s for one in part for s in one.scores], names)[0] for step, part in measured.items()]
    with replacing(folder / METRICS) as temporary:
        steps = [line for line in read_metrics(folder) if "loss" in line]
        every = sorted([*steps, *lines], key=lambda line: int(str(line["step"])))
        temporary.write_text("".join(json.dumps(line) + "\n" for line in every), encoding="utf-8")
    for step, part in measured.items():
        write_examples(folder, step, pictures_of(part))
    draw({config.name: folder}, folder / CURVE)


def sanity(model: MedSAM, draws: Draws, config: TrainConfig, device: torch.device) -> tuple[float, float]:
    """Overfit one batch on a copy of the model, which what is configured wrongly cannot do.

    Wrong masks may be learnt by heart too, so it says little about them.

    Returns:
        Loss at the first and at the last step.

    Raises:
        DataError: the loss did not fall by a twentieth.
    """
    batch = join([draws[d] for d in range(min(SANITY_IMAGES, len(draws.source)))]).to(device)
    prepare(model.to(device), config)
    objective = Objective(model, config)
    with torch.no_grad():
        features = model.encode(batch.image_B3SS) if config.encoder == "frozen" else None
    optimizer = torch.optim.AdamW(learning(model).values(), lr=config.learning_rate)
    losses = []
    for _ in range(SANITY_STEPS):
        optimizer.zero_grad()
        loss = objective(batch, features).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    if not losses[-1] < SANITY_FALL * losses[0]:
        raise DataError(
            f"the loss of one batch went from {losses[0]:.4f} to {losses[-1]:.4f} in {SANITY_STEPS} steps",
            expected="a loss that falls by a twentieth at least",
            fix="check that masks belong to their images, or change --learning-rate",
        )
    return losses[0], losses[-1]


def _predictor(model: MedSAM, manifest: Manifest, device: torch.device) -> Predictor:
    return Predictor(TorchRuntime(model, device=device), manifest, weights=stem_identity(model))


def compare(before: Sequence[Score], after: Sequence[Score]) -> Comparison:
    """Medians and means of each measure over the same targets, and the median Dice of each case."""
    rows = []
    for name in before[0].scores:
        old, new = ([score.scores[name] for score in part] for part in (before, after))
        rows.append((f"median {name}", float(np.median(old)), float(np.median(new))))
        rows.append((f"mean {name}", float(np.mean(old)), float(np.mean(new))))
    cases: dict[str, list[tuple[float, float]]] = {}
    for first, last in zip(before, after, strict=True):
        cases.setdefault(case_of(first.sample), []).append((first.scores["dice"], last.scores["dice"]))
    pairs = [pair for members in cases.values() for pair in members]
    medians = {name: np.median(members, axis=0).tolist() for name, members in sorted(cases.items())}
    return Comparison(
        targets=len(pairs),
        better=sum(last > first for first, last in pairs),
        worse=sum(last < first for first, last in pairs),
        rows=tuple(rows),
        cases=tuple((name, first, last) for name, (first, last) in medians.items()),
    )
