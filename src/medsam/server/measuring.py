"""Route of /api/v1 that measures: each object within its bounds, and anew only where one of its slices has changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from fastapi import APIRouter

from medsam.annotation.measure import Intensity, Measurement, measure, measure_intensity
from medsam.annotation.study.label_runs import Bounds, LabelRuns
from medsam.imaging.image import Grid, Image, Mask
from medsam.server.annotating import mask_of
from medsam.server.masks import OfWhom
from medsam.server.scans import OpenScan
from medsam.server.schemas import MeasurementView
from medsam.server.state import Annotator, Case, Server

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["masks"])


@router.get("/measurements")
def measurements(
    *, case: Case, server: Server, me: Annotator, annotator: OfWhom = None, components: bool = False
) -> list[MeasurementView]:
    """Volume, diameters and values of each object; in pixels where the spacing is unknown; none where nothing is drawn."""
    scan = server.scans.open(case)
    mask, _ = mask_of(server, case, server.project.head(case.id, annotator or me).revision)
    names = {item.label: item.name for item in server.project.objects(case.id) if item.name}
    return [
        view.model_copy(update={"name": names.get(label)})
        for label in mask.ids
        for view in _measured(scan, mask, label, components=components)
    ]


def _measured(scan: OpenScan, mask: LabelRuns, label: int, *, components: bool) -> Sequence[MeasurementView]:
    """An object measured, or what was found before where its slices are the same."""
    slices = tuple((k, one) for k, one in enumerate(mask.slices) if label in one.ids)
    known = scan.measured.get((label, components))
    if known is not None and known[0] == slices:
        return known[1]
    views = _measure(scan.stored, mask, label, components=components)
    scan.measured[label, components] = slices, views
    return views


def _measure(stored: Image, mask: LabelRuns, label: int, *, components: bool) -> list[MeasurementView]:
    bounds = _deep(mask.bounds(label), mask.shape[0])
    window = tuple(slice(*ends) for ends in bounds)
    labels = np.where(mask.where(label, bounds), np.uint16(label), np.uint16(0))
    placed = stored.grid.spacing_mm is not None
    cut = Mask(labels, stored.grid.cut(bounds) if placed else Grid(labels.shape, spacing_mm=(1, 1, 1)))
    inside: dict[int, Intensity] = {}
    if not components:
        part = Image(stored.values[window], Grid(labels.shape), modality=stored.modality)
        inside = measure_intensity(part, cut)
    axis = 0 if mask.shape[0] == 1 else cut.grid.find_axis("axial")
    top, left = (bounds[at][0] for at in range(3) if at != axis)
    views = []
    for row in measure(cut, components=components):
        facts = _facts(row, (bounds[axis][0], top, left), placed=placed)
        views.append(MeasurementView.model_validate(facts | (asdict(inside[label]) if inside else {})))
    return views


def _deep(bounds: Bounds, depth: int) -> Bounds:
    """Bounds of two slices at least, where the scan has two: a mask of one is measured as a picture."""
    (first, last), rows, columns = bounds
    return (max(0, min(first, depth - 2)), min(depth, max(last, first + 2))), rows, columns


def _facts(row: Measurement, corner: tuple[int, int, int], *, placed: bool) -> dict[str, object]:
    """A measurement within bounds as one of the scan.

    Args:
        corner: Where the bounds begin: slice, row and column of the plane that was measured.
    """
    facts = {name: value for name, value in asdict(row).items() if name in MeasurementView.model_fields}
    k, top, left = corner
    facts["slice"] = row.slice + k
    for name, ends in (("long_axis_xy", row.long_axis_xy), ("short_axis_xy", row.short_axis_xy)):
        facts[name] = tuple((x + left, y + top) for x, y in ends)
    if not placed:
        facts |= {"volume_ml": None, "long_axis_mm": None, "short_axis_mm": None}
        facts |= {"long_axis_px": row.long_axis_mm, "short_axis_px": row.short_axis_mm}
    return facts
