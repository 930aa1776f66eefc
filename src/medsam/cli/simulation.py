"""What `medsam simulate` does: cases read, marked, segmented, scored and written."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from medsam.annotation.annotate import AnnotationResult, annotate, slice_axis
from medsam.annotation.interpolation import Interpolation
from medsam.annotation.markers import Box, Marker
from medsam.annotation.reader import STUDY_SAVED, Reader, TimeModel, draw_markers
from medsam.errors import GeometryError, InputFileError, PromptError
from medsam.evaluation.metrics import TOLERANCE_MM, dice, normalized_surface_distance
from medsam.imaging.image import Image, Mask
from medsam.imaging.intensity import normalize
from medsam.imaging.overlay import contact_sheet, overlay
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.io.atomic import replacing
from medsam.io.formats import read_image, read_mask, write_mask

GREEN, MAGENTA = (0, 220, 0), (255, 0, 200)
MOST_SLICES = 12


@dataclass(frozen=True)
class Study:
    """The flags of `medsam simulate`, checked."""

    pairs: tuple[Path, ...]
    every: tuple[int, ...]
    whole: bool
    labels: tuple[int, ...]
    jitter_mm: float
    seed: int
    widest: bool
    threshold: float
    times: TimeModel
    boxes: Interpolation
    plane: str | None
    modality: str | None
    window: str | None
    cache: Path | None


@dataclass(frozen=True)
class Row:
    """One object of one scan, marked every k slices.

    Args:
        scan: File name without its suffixes.
        label: Of the object.
        every: Distance of marked slices.
        slices: Slices of the object.
        marked: How many of them the reader marked.
        dice: Of the volume, before any correction.
        nsd: The same at 2 mm.
        to_correct: Slices whose own Dice is below the threshold, those with mask or expert only among them.
        model_seconds: Encode and decode, the scan's share of this object.
        manual_minutes: Time model: outline every slice by hand.
        assisted_minutes: Time model: mark, wait, check, correct what needs it.
        saved: Time model: share saved.
    """

    scan: str
    label: int
    every: int
    slices: int
    marked: int
    dice: float
    nsd: float
    to_correct: int
    model_seconds: float
    manual_minutes: float
    assisted_minutes: float
    saved: float


@dataclass(frozen=True, eq=False)
class Case:
    """A scan, normalized, and its expert mask, both with the slices of the marked plane first."""

    name: str
    image: Image
    expert: Mask
    axis: int


@dataclass(frozen=True)
class Run:
    """One distance of one case: markers drawn, and the seconds the model took."""

    every: int
    markers: Sequence[Marker]
    seconds: float


def parse_times(text: str) -> TimeModel:
    """Read "draw,mark,check,correct" seconds.

    Raises:
        PromptError: not four numbers of 0 or more, the first above 0.
    """
    try:
        draw, mark, check, correct = (float(part) for part in text.split(","))
    except ValueError:
        draw = mark = check = correct = -1.0
    if not (min(mark, check, correct) >= 0 < draw and max(draw, mark, check, correct) < float("inf")):
        raise PromptError(f"seconds are {text!r}", expected="draw,mark,check,correct", fix="pass --seconds 60,10,3,30")
    return TimeModel(draw, mark, check, correct)


def run_study(study: Study, output: Path, load: Callable[[], Predictor]) -> str:
    """Run every case at every distance, write the folder, and give the table as Markdown.

    Args:
        study: What to do.
        output: Folder, made if it is not there.
        load: Called for the model once all cases were read.

    Raises:
        MedsamError: a file, a pair or a flag that does not fit.
    """
    pairs = _paired(study.pairs)
    drawn = [(case, _draw(case, study)) for case in (_case(scan, mask, study) for scan, mask in pairs)]
    predictor = load()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="medsam-") as folder:
        cache = EmbeddingCache(study.cache or folder)
        for case, by_distance in drawn:
            encode = 0.0
            for every, markers in by_distance.items():
                how = study.boxes
                result = annotate(
                    predictor, case.image, markers, interpolation=how.method, margin_px=how.margin_px, cache=cache
                )
                encode = max(encode, result.seconds["encode"])  # later distances find the same slices encoded already
                rows += _score(case, result, Run(every, markers, encode + result.seconds["decode"]), study)
                _write_case(output, case, result, every)
    _write_rows(output, rows, study, predictor)
    return markdown(rows)


def _paired(pairs: Sequence[Path]) -> list[tuple[Path, Path]]:
    if len(pairs) % 2 or not pairs:
        fix = "name every scan with its mask; an npz that holds both, twice"
        raise InputFileError(f"{len(pairs)} files", expected="SCAN EXPERT_MASK pairs", fix=fix)
    return list(zip(pairs[::2], pairs[1::2], strict=True))


def _case(scan: Path, mask: Path, study: Study) -> Case:
    image = normalize(read_image(scan, modality=study.modality), window=study.window)
    expert = read_mask(mask, reference=image)
    distance = expert.grid.max_distance_mm(image.grid)
    if distance > 0.1:
        got = f"{mask.name} lies up to {distance:.3g} mm off {scan.name}"
        raise GeometryError(got, expected="the same grid", fix="check the pair")
    labels = np.where(np.isin(expert.labels, study.labels), expert.labels, 0) if study.labels else expert.labels
    labels = (labels > 0).astype(np.uint8) if study.whole else labels
    axis = slice_axis(image, study.plane or 0)
    expert = replace(expert, labels=labels, grid=image.grid).moved_axis(axis)
    return Case(scan.name.split(".")[0], image.moved_axis(axis), expert, axis)


def _draw(case: Case, study: Study) -> dict[int, list[Marker]]:
    return {
        every: draw_markers(case.expert, Reader(every, study.jitter_mm, study.seed, study.widest))
        for every in study.every
    }


def _score(case: Case, result: AnnotationResult, run: Run, study: Study) -> Iterator[Row]:
    spent = run.seconds / len(result.boxes)
    for label, boxes in result.boxes.items():
        expert, made = case.expert.labels == label, result.mask.labels == label
        present = np.flatnonzero((expert | made).any(axis=(1, 2)))
        poor = sum(dice(expert[k], made[k]) < study.threshold for k in present)
        marked = len({m.slice for m in run.markers if m.label == label})
        manual = study.times.manual(int(expert.any(axis=(1, 2)).sum()))
        assisted = study.times.assisted(len(boxes), marked, poor, spent)
        yield Row(
            scan=case.name, label=label, every=run.every, slices=len(boxes), marked=marked,
            dice=dice(case.expert, result.mask, label=label),
            nsd=normalized_surface_distance(case.expert, result.mask, label=label), to_correct=poor,
            model_seconds=spent, manual_minutes=manual / 60, assisted_minutes=assisted / 60,
            saved=1 - assisted / manual,
        )  # fmt: skip


def _write_case(output: Path, case: Case, result: AnnotationResult, every: int) -> None:
    """The mask on the scan's own grid, and a picture: expert green, model magenta, boxes blue."""
    stem = f"{case.name}_every{every}"
    write_mask(result.mask.restored_axis(case.axis), output / f"{stem}.nii.gz")
    slices = sorted({k for own in result.boxes.values() for k in own})
    shown = slices[:: -(-len(slices) // MOST_SLICES)]
    sheet = contact_sheet([_tile(case, result, k) for k in shown], tile_px=384)
    with replacing(output / f"{stem}.png") as temporary:
        Picture.fromarray(sheet).save(temporary, format="PNG")


def _tile(case: Case, result: AnnotationResult, index: int) -> np.ndarray:
    """One slice, cut to its surroundings so that small objects are seen."""
    boxes = [own[index] for own in result.boxes.values() if index in own]
    x0, y0, x1, y1 = _surroundings(boxes, case.image.grid.shape[1:])
    window = (slice(y0, y1), slice(x0, x1))
    expert = _one_color(case.expert.labels[index][window], GREEN)
    base = overlay(np.ascontiguousarray(case.image.slice_rgb(index)[window]), expert[0], colors=expert[1])
    times = base.shape[0] // (y1 - y0)
    made, colors = _one_color(result.mask.labels[index][window].repeat(times, 0).repeat(times, 1), MAGENTA)
    moved = [tuple(times * (v - o) for v, o in zip(box, (x0, y0, x0, y0), strict=True)) for box in boxes]
    return overlay(base, made, colors=colors, boxes=moved, side_px=1, caption=f"slice {index}")


def _one_color(
    labels_HW: np.ndarray, color: tuple[int, int, int]
) -> tuple[np.ndarray, dict[int, tuple[int, int, int]]]:
    return labels_HW, {int(i): color for i in np.unique(labels_HW) if i}


def _surroundings(boxes: Sequence[Box], size_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = np.array(boxes).T
    room = max(24.0, float(max(x1.max() - x0.min(), y1.max() - y0.min())) / 2)
    left, top = max(0, int(x0.min() - room)), max(0, int(y0.min() - room))
    return left, top, min(size_hw[1], int(x1.max() + room)), min(size_hw[0], int(y1.max() + room))


def _write_rows(output: Path, rows: Sequence[Row], study: Study, predictor: Predictor) -> None:
    text = io.StringIO()
    header = [f.name for f in fields(Row)]
    csv.writer(text, lineterminator="\n").writerows([header, *map(astuple, rows)])
    settings = {
        "model": predictor.manifest.name, "sha256": predictor.manifest.sha256, "jitter_mm": study.jitter_mm,
        "seed": study.seed, "widest": study.widest, "threshold": study.threshold, "assumed_seconds": asdict(study.times),
        "boxes": asdict(study.boxes), "tolerance_mm": TOLERANCE_MM, "whole": study.whole,
        "labels": list(study.labels), "plane": study.plane, "study_saved": STUDY_SAVED,
        "note": "minutes are a model with assumed seconds, not a measurement",
    }  # fmt: skip
    summary = json.dumps({"settings": settings, "rows": [asdict(row) for row in rows]}, indent=1) + "\n"
    for name, content in (("csv", text.getvalue()), ("json", summary), ("md", markdown(rows))):
        with replacing(output / f"simulate.{name}") as temporary:
            temporary.write_text(content, encoding="utf-8")


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table, with the medians of every distance below."""
    lines = [
        "| scan | label | every | slices | marked | Dice | NSD, 2 mm | to correct | model s | time saved (model) |",
        "|" + "---|" * 10,
    ]
    for r in rows:
        lines.append(
            f"| {r.scan} | {r.label} | {r.every} | {r.slices} | {r.marked} | {r.dice:.3f} | {r.nsd:.3f} "
            f"| {r.to_correct} | {r.model_seconds:.1f} | {r.saved:.0%} |"
        )
    for every in sorted({r.every for r in rows}) if len({(r.scan, r.label) for r in rows}) > 1 else ():
        own = [r for r in rows if r.every == every]
        scores = [float(np.median([r.dice for r in own])), float(np.median([r.nsd for r in own]))]
        slices, marked, poor = (sum(getattr(r, name) for r in own) for name in ("slices", "marked", "to_correct"))
        saved = 1 - sum(r.assisted_minutes for r in own) / sum(r.manual_minutes for r in own)
        lines.append(
            f"| **median, sums** | {len(own)} objects | {every} | {slices} | {marked} | **{scores[0]:.3f}** "
            f"| **{scores[1]:.3f}** | {poor} | | {saved:.0%} |"
        )
    return "\n".join(lines) + "\n"
