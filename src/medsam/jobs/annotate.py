"""From a scan and its markers to a mask on disk: read, make boxes, segment, write, keep the record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medsam.annotation.annotate import annotate as annotate_image
from medsam.annotation.interpolation import boxes_from_markers
from medsam.annotation.marker_files import Objects, Target, read_markers
from medsam.imaging.box_options import BoxOptions
from medsam.imaging.prompts import Prompt
from medsam.inference.cache import EmbeddingCache
from medsam.io.dicom.pacs_address import redact
from medsam.io.formats import check_writable, write_mask
from medsam.jobs.inputs import local_path, read_scan, store_result
from medsam.jobs.options import (
    EngineOptions,
    FileOptions,
    IntensityOptions,
    MaskOptions,
    ModelOptions,
    Plane,
    RunOptions,
)
from medsam.jobs.outputs import check_outputs, choose_series_of_reference
from medsam.jobs.picture import check_picture, write_picture
from medsam.jobs.record import MaskRun, describe_run, write_record
from medsam.jobs.segment import count_voxels

if TYPE_CHECKING:
    from medsam.progress import Progress

log = logging.getLogger("medsam")


@dataclass(frozen=True)
class AnnotateRequest:
    """What to annotate, from which markers, and where the mask goes.

    Args:
        scan: Image file, DICOM folder or address of a series in a PACS.
        markers: Files of them.
        output: The mask.
        objects: Whether labels or strokes that overlap are the objects.
        plane: The plane that the markers were drawn in.
        boxes: How boxes come from them.
        file: Which image of the file.
        intensity: Modality and window.
        mask: How the mask is written.
        beside: What is written beside it.
        model: What segments.
        engine: Where it runs.
    """

    scan: str
    markers: tuple[Path, ...]
    output: Path
    objects: Objects = "labels"
    plane: Plane | None = None
    boxes: BoxOptions = BoxOptions()
    file: FileOptions = FileOptions()
    intensity: IntensityOptions = IntensityOptions()
    mask: MaskOptions = MaskOptions()
    beside: RunOptions = RunOptions()
    model: ModelOptions = ModelOptions()
    engine: EngineOptions = EngineOptions()


@dataclass(frozen=True)
class AnnotateResult:
    """What came of a request.

    Args:
        run: The mask and how it was made.
        scores: {label: {slice: score}}.
        marked: Label to the number of its slices that carry a marker of any object.
    """

    run: MaskRun
    scores: Mapping[int, Mapping[int, float]]
    marked: Mapping[int, int]


def annotate(request: AnnotateRequest, *, progress: Progress | None = None) -> AnnotateResult:
    """Annotate one scan and write what was asked for.

    Args:
        request: What to do.
        progress: Called with (slices done, slices in all).

    Raises:
        MedsamError: a file or a choice that does not fit; nothing is written then.
    """
    start = time.perf_counter()
    output, beside, mask = request.output, request.beside, request.mask
    how = request.boxes
    check_picture(beside.overlay)
    inputs = [request.scan, *request.markers, mask.reference]
    check_outputs([output, beside.overlay, beside.record], inputs, overwrite=mask.overwrite)
    with local_path(request.scan) as path, local_path(mask.reference or path) as reference:
        series = choose_series_of_reference(request.file.series, path, mask.reference)
        check_writable(output, reference=reference, format=mask.format, series=series)
        scan = read_scan(path, request.file, request.intensity, request.plane)
        if output.suffix.lower() == ".dcm":  # several series may have this grid, which the headers alone leave open
            check_writable(output, reference=reference, format=mask.format, series=series, grid=scan.image.grid)
        target = Target(scan.image.grid, scan.axis, path)
        read = read_markers(request.markers, target, objects=request.objects)
        drawn = read.markers
        if read.notice is not None:
            log.warning("%s", read.notice)
        boxes_from_markers(drawn, target.sliced, how)  # bad markers are refused before the model is loaded
        predictor = request.model.load(request.engine)
        result = annotate_image(
            predictor, scan.image, drawn, interpolation=how.interpolation, margin_px=how.margin_px, max_gap=how.max_gap,
            plane=scan.axis, cache=EmbeddingCache(beside.cache) if beside.cache else None, progress=progress,
        )  # fmt: skip
        write_mask(result.mask, output, reference=reference, format=mask.format, series=series)
        store_result(request.scan, output, reference=mask.reference)
    placed = [(label, k, box) for label, own in result.boxes.items() for k, box in own.items()]
    prompts = tuple(Prompt(label=label, slice=k, box=box) for label, k, box in placed)
    if beside.overlay is not None:
        write_picture(beside.overlay, scan.sliced, result.mask.move_axis(scan.axis), prompts)
    seconds = {**result.seconds, "total": time.perf_counter() - start}
    scores = tuple(result.scores[label][k] for label, k, _ in placed)
    source = redact(request.scan)
    run = MaskRun(
        source, output, prompts, scores, seconds, count_voxels(result.mask), request.markers,
        predictor.manifest.score_name,
    )  # fmt: skip
    if beside.record is not None:
        settings = _settings(request) | {"margin_px": how.find_margin(target.sliced.shape[1:])}
        write_record(beside.record, describe_run(predictor, settings), [run.as_row()])
    slices = {marker.slice for marker in drawn}
    return AnnotateResult(run, result.scores, {label: len(slices & set(own)) for label, own in result.boxes.items()})


def _settings(request: AnnotateRequest) -> dict[str, object]:
    return {
        "modality": request.intensity.modality, "window": request.intensity.window, "plane": request.plane,
        "volume": request.file.volume, "geometry": request.file.geometry, "overlap": "higher label",
        "objects": request.objects, "interpolation": request.boxes.interpolation,
        "max_gap": request.boxes.max_gap,
    }  # fmt: skip
