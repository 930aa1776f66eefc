"""A simulated reader over cases with expert masks: each is read, marked, segmented, scored and written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medsam.annotation.annotate import AnnotationResult, annotate
from medsam.annotation.markers import Marker
from medsam.annotation.study.simulated_reader import STUDY_SAVED, Reader, TimeModel, draw_markers
from medsam.errors import GeometryError, InputFileError, PromptError
from medsam.evaluation.metrics import TOLERANCE_MM, dice, normalized_surface_distance
from medsam.files.atomic import write_text
from medsam.imaging.box_options import BoxOptions
from medsam.imaging.boxes import Box
from medsam.imaging.image import Image, Mask, find_slice_axis
from medsam.imaging.overlay import draw_overlay, tile_pictures
from medsam.inference.cache import EmbeddingCache
from medsam.inference.predictor import Predictor
from medsam.io.dicom.pacs_address import is_address
from medsam.io.formats import read_mask, write_mask
from medsam.io.pictures.raster import save_picture
from medsam.io.text import format_rows
from medsam.jobs.inputs import local_path, read_scan
from medsam.jobs.options import FileOptions, IntensityOptions, ModelOptions, Plane
from medsam.jobs.outputs import check_outputs
from medsam.jobs.picture import MOST_SLICES
from medsam.jobs.record import describe_run, write_record

if TYPE_CHECKING:
    from medsam.progress import Progress

GREEN, MAGENTA = (0, 220, 0), (255, 0, 200)


@dataclass(frozen=True)
class SimulateRequest:
    """A simulated reader, the cases and where the results go.

    Args:
        pairs: Scan and expert mask, in turn.
        output: Folder, made if it is not there.
        every: Distances of marked slices.
        whole: Whether all labels of a mask are one object.
        labels: Labels to take; all without it.
        jitter_mm: Standard deviation of the reader's hand.
        seed: Of it.
        widest: Whether the reader also marks the slice with the longest axis.
        threshold: A slice below this Dice needs correction.
        times: Assumed seconds.
        plane: The plane marked.
        cache: Folder for embeddings; a temporary one without it.
        boxes: How boxes come from markers.
        intensity: Modality and window.
        model: What segments.
        overwrite: Whether results that exist are replaced.
    """

    pairs: tuple[Path, ...]
    output: Path
    every: tuple[int, ...]
    whole: bool
    labels: tuple[int, ...]
    jitter_mm: float
    seed: int
    widest: bool
    threshold: float
    times: TimeModel
    plane: Plane | None
    cache: Path | None
    boxes: BoxOptions
    intensity: IntensityOptions
    model: ModelOptions
    overwrite: bool = False


@dataclass(frozen=True)
class SimulatedScore:
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
class MarkedCase:
    """A scan, normalized, and its expert mask, both with the slices of the marked plane first."""

    name: str
    image: Image
    expert: Mask
    axis: int


@dataclass(frozen=True)
class MarkedRun:
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


def simulate(request: SimulateRequest, *, progress: Progress | None = None) -> tuple[list[SimulatedScore], str]:
    """Run every case at every distance and write the folder.

    Args:
        request: What to do.
        progress: Called with (runs done, runs in all).

    Returns:
        The scores, and their table as Markdown.

    Raises:
        MedsamError: a file, a pair or a flag that does not fit.
    """
    check_outputs(_outputs(request), request.pairs, overwrite=request.overwrite)
    pairs = _paired(request.pairs)
    cases = (_case(number, scan, mask, request) for number, (scan, mask) in enumerate(pairs, start=1))
    drawn = [(case, _draw(case, request)) for case in cases]
    check_outputs(_outputs(request, [case for case, _ in drawn]), request.pairs, overwrite=request.overwrite)
    predictor = request.model.load()
    rows: list[SimulatedScore] = []
    how, total = request.boxes, len(pairs) * len(request.every)
    with tempfile.TemporaryDirectory(prefix="medsam-") as folder:
        cache = EmbeddingCache(request.cache or folder)
        for number, (case, by_distance) in enumerate(drawn):
            encode = 0.0
            for done, (every, markers) in enumerate(by_distance.items(), start=1 + number * len(by_distance)):
                result = annotate(
                    predictor, case.image, markers, interpolation=how.interpolation, margin_px=how.margin_px,
                    max_gap=how.max_gap, cache=cache,
                )  # fmt: skip
                encode = max(encode, result.seconds["encode"])  # later distances find the same slices encoded already
                rows += _score(case, result, MarkedRun(every, markers, encode + result.seconds["decode"]), request)
                _write_case(request.output, case, result, every)
                if progress is not None:
                    progress(done, total)
    _write_rows(rows, request, predictor)
    return rows, render_markdown(rows)


def _outputs(request: SimulateRequest, cases: Sequence[MarkedCase] = ()) -> list[Path]:
    stems = [f"{case.name}_every{every}" for case in cases for every in request.every]
    names = [f"simulate.{suffix}" for suffix in ("csv", "json", "md")]
    return [
        request.output / name for name in (*names, *(f"{stem}{end}" for stem in stems for end in (".nii.gz", ".png")))
    ]


def _paired(pairs: Sequence[Path]) -> list[tuple[Path, Path]]:
    if len(pairs) % 2 or not pairs:
        fix = "name every scan with its mask; an npz that holds both, twice"
        raise InputFileError(f"{len(pairs)} files", expected="SCAN EXPERT_MASK pairs", fix=fix)
    return list(zip(pairs[::2], pairs[1::2], strict=True))


def _case(number: int, scan: Path, mask: Path, request: SimulateRequest) -> MarkedCase:
    name = f"series{number}" if is_address(scan) else scan.name.split(".")[0]  # an address ends in a UID
    with local_path(scan) as source, local_path(mask) as drawn:
        image = read_scan(source, FileOptions(), request.intensity).image
        expert = read_mask(drawn, reference=image)
    distance = expert.grid.max_distance_mm(image.grid)
    if distance > 0.1:
        got = f"the mask of {name} lies up to {distance:.3g} mm off"
        raise GeometryError(got, expected="the same grid", fix="check the pair")
    labels = np.where(np.isin(expert.labels, request.labels), expert.labels, 0) if request.labels else expert.labels
    labels = (labels > 0).astype(np.uint8) if request.whole else labels
    axis = find_slice_axis(image.grid, request.plane or 0)
    expert = replace(expert, labels=labels, grid=image.grid).move_axis(axis)
    return MarkedCase(name, image.move_axis(axis), expert, axis)


def _draw(case: MarkedCase, request: SimulateRequest) -> dict[int, list[Marker]]:
    return {
        every: draw_markers(case.expert, Reader(every, request.jitter_mm, request.seed, request.widest))
        for every in request.every
    }


def _score(
    case: MarkedCase, result: AnnotationResult, run: MarkedRun, request: SimulateRequest
) -> Iterator[SimulatedScore]:
    spent = run.seconds / len(result.boxes)
    for label, boxes in result.boxes.items():
        expert, made = case.expert.labels == label, result.mask.labels == label
        present = np.flatnonzero((expert | made).any(axis=(1, 2)))
        poor = sum(dice(expert[k], made[k]) < request.threshold for k in present)
        marked = len({m.slice for m in run.markers if m.label == label})
        manual = request.times.manual(int(expert.any(axis=(1, 2)).sum()))
        assisted = request.times.assisted(len(boxes), marked, poor, spent)
        yield SimulatedScore(
            scan=case.name, label=label, every=run.every, slices=len(boxes), marked=marked,
            dice=dice(case.expert, result.mask, label=label),
            nsd=normalized_surface_distance(case.expert, result.mask, label=label), to_correct=poor,
            model_seconds=spent, manual_minutes=manual / 60, assisted_minutes=assisted / 60,
            saved=1 - assisted / manual,
        )  # fmt: skip


def _write_case(output: Path, case: MarkedCase, result: AnnotationResult, every: int) -> None:
    """The mask on the scan's own grid, and a picture: expert green, model magenta, boxes blue."""
    stem = f"{case.name}_every{every}"
    write_mask(result.mask.restore_axis(case.axis), output / f"{stem}.nii.gz")
    slices = sorted({k for own in result.boxes.values() for k in own})
    shown = slices[:: -(-len(slices) // MOST_SLICES)]
    sheet = tile_pictures([_tile(case, result, k) for k in shown], tile_px=384)
    save_picture(output / f"{stem}.png", sheet)


def _tile(case: MarkedCase, result: AnnotationResult, index: int) -> np.ndarray:
    """One slice, cut to its surroundings so that small objects are seen."""
    boxes = [own[index] for own in result.boxes.values() if index in own]
    x0, y0, x1, y1 = _surroundings(boxes, case.image.grid.shape[1:])
    window = (slice(y0, y1), slice(x0, x1))
    expert = _one_color(case.expert.labels[index][window], GREEN)
    base = draw_overlay(np.ascontiguousarray(case.image.slice_rgb(index)[window]), expert[0], colors=expert[1])
    times = base.shape[0] // (y1 - y0)
    made, colors = _one_color(result.mask.labels[index][window].repeat(times, 0).repeat(times, 1), MAGENTA)
    moved = [tuple(times * (v - o) for v, o in zip(box, (x0, y0, x0, y0), strict=True)) for box in boxes]
    return draw_overlay(base, made, colors=colors, boxes=moved, side_px=1, caption=f"slice {index}")


def _one_color(
    labels_HW: np.ndarray, color: tuple[int, int, int]
) -> tuple[np.ndarray, dict[int, tuple[int, int, int]]]:
    return labels_HW, {int(i): color for i in np.unique(labels_HW) if i}


def _surroundings(boxes: Sequence[Box], size_hw: tuple[int, ...]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = np.array(boxes).T
    room = max(24.0, float(max(x1.max() - x0.min(), y1.max() - y0.min())) / 2)
    left, top = max(0, int(x0.min() - room)), max(0, int(y0.min() - room))
    return left, top, min(size_hw[1], int(x1.max() + room)), min(size_hw[0], int(y1.max() + room))


def _write_rows(rows: Sequence[SimulatedScore], request: SimulateRequest, predictor: Predictor) -> None:
    header = [f.name for f in fields(SimulatedScore)]
    settings = {
        "modality": request.intensity.modality, "window": request.intensity.window, "jitter_mm": request.jitter_mm,
        "seed": request.seed, "widest": request.widest, "threshold": request.threshold, "assumed_seconds": asdict(request.times),
        "boxes": asdict(request.boxes), "tolerance_mm": TOLERANCE_MM, "whole": request.whole,
        "labels": list(request.labels), "plane": request.plane, "study_saved": STUDY_SAVED,
        "note": "minutes are a model with assumed seconds, not a measurement",
    }  # fmt: skip
    write_record(request.output / "simulate.json", describe_run(predictor, settings), [asdict(row) for row in rows])
    write_text(request.output / "simulate.csv", format_rows([header, *map(astuple, rows)]))
    write_text(request.output / "simulate.md", render_markdown(rows))


def render_markdown(rows: Sequence[SimulatedScore]) -> str:
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
