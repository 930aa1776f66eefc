"""What a file holds, where it lies, and what a model would be given of it. No name, date or UID is among the facts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsam.errors import IntensityError
from medsam.imaging.image import Grid, Image
from medsam.imaging.intensity import find_intensity_bounds
from medsam.imaging.modality import Modality
from medsam.io.dicom.pacs_address import redact
from medsam.io.formats import detect_format, read_image, read_mask
from medsam.jobs.inputs import local_path, read_grid
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.models.weights.catalog import CATALOG, DEFAULT, resolve
from medsam.models.weights.manifest import Manifest

Facts = dict[str, object]
PLANES = {"I": "axial", "S": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}
AIR_HU = (-1100, -900)  # where the least value of a CT lies: air, or the padding around the scan's circle
MOST_HU = 32767


@dataclass(frozen=True)
class InfoRequest:
    """What to describe.

    Args:
        file: Image or mask file, DICOM folder, or address of a series in a PACS.
        model: Whose frame is shown; the default model without it.
        reference: The image a mask belongs to.
        choice: Which image of the file.
        intensity: Modality and window to try.
    """

    file: Path
    model: str | None = None
    reference: Path | None = None
    choice: FileOptions = FileOptions()
    intensity: IntensityOptions = IntensityOptions()


def describe_file(request: InfoRequest) -> Facts:
    """Describe a file.

    Raises:
        MedsamError: a file that cannot be read.
    """
    choice = request.choice
    with local_path(request.file) as path:
        row = detect_format(path)
        facts: Facts = {"file": redact(request.file), "format": row.name}
        if "read_image" not in row.can or _is_dicom_mask(path, row.name):
            return facts | _labels(path, request.reference, choice)
        image = read_image(
            path, modality=request.intensity.modality, series=choice.series, geometry=choice.geometry,
            volume=choice.volume,
        )  # fmt: skip
    facts |= _place(image.grid) | _values(image) | _plan(image, request.intensity.window)
    return facts | _frame(image.grid, request.model) | _missing(image, request)


def _missing(image: Image, request: InfoRequest) -> Facts:
    """All flags that segmenting this image still needs, and the command that has them."""
    depth = image.grid.shape[0]
    given, needed = [], []
    for flag, value in (
        ("--modality", request.intensity.modality),
        ("--window", request.intensity.window),
        ("--volume", request.choice.volume),
        ("--series", request.choice.series),
    ):
        given += [f"{flag} {value}"] if value is not None else []
    guess = "CT in HU" if _looks_like_ct(image) else None
    unknown = image.modality is None and image.values.dtype != np.uint8 and not image.is_rgb
    if unknown and request.intensity.window is None:
        needed.append("--modality CT" if guess else "--modality MR (or what made it)")
    ct = image.modality is Modality.CT or (unknown and guess is not None)
    if ct and request.intensity.window is None and image.window is None and image.values.dtype != np.uint8:
        needed.append("--window soft-tissue")
    needed += [f"--slice K (0 to {depth - 1})"] if depth > 1 else []
    needed.append("--box x0,y0,x1,y1")
    flags = [flag.partition(" (")[0] for flag in (*given, *needed)]
    output = "mask.png" if depth == 1 else "mask.nii.gz"
    command = " ".join(["medsam segment", redact(request.file), *flags, "-o", output])
    return {"looks_like": guess, "needed": needed, "command": command}


def _looks_like_ct(image: Image) -> bool:
    """Whether whole numbers run from about -1024, air, to more than 100, tissue: then they can hardly be else than HU."""
    values = image.values
    if image.modality is not None or image.is_rgb or not values.size or values.dtype.kind not in "if":
        return False
    low, high = float(values.min()), float(values.max())
    padded = low < -1100 and bool(np.any((values >= AIR_HU[0]) & (values <= AIR_HU[1])))
    whole = values.dtype.kind == "i" or bool(np.all(values == np.rint(values)))
    return whole and (AIR_HU[0] <= low <= AIR_HU[1] or padded) and 100 < high <= MOST_HU


def _is_dicom_mask(file: Path, format_name: str) -> bool:
    """Whether this is a DICOM SEG or RTSTRUCT; a folder is looked at as a series."""
    from medsam.io.dicom.segmentation import holds_mask

    return format_name == "dicom" and file.is_file() and holds_mask(file)


def _place(grid: Grid) -> Facts:
    spacing = grid.spacing_mm
    if spacing is None:
        return {"shape": list(grid.shape), "spacing_mm": None, "orientation": None, "plane": None, "origin_mm": None}
    return {
        "shape": list(grid.shape),
        "spacing_mm": [round(s, 6) for s in spacing],
        "orientation": grid.orientation,
        "plane": PLANES[grid.orientation[0]],
        "oblique_degrees": round(_obliquity(grid), 2),
        "origin_mm": [round(float(v), 4) for v in grid.to_world([[0, 0, 0]])[0]],  # type: ignore[arg-type]
    }


def _obliquity(grid: Grid) -> float:
    """Largest angle in degrees between an array axis and the patient axis next to it."""
    assert grid.affine is not None  # noqa: S101 - Grid always sets it
    axes = np.abs(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    return float(np.degrees(np.arccos(np.clip(axes.max(axis=0), 0, 1))).max())


def _values(image: Image) -> Facts:
    values = image.values
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return {
        "channels": 3 if image.is_rgb else 1,
        "dtype": values.dtype.name,
        "range": [finite.min().item(), finite.max().item()] if finite.size else None,
        "not_finite": int(values.size - finite.size),
        "modality": image.modality.value if image.modality else None,
        "window": [image.window.width, image.window.level] if image.window else None,
        "normalized": image.normalized,
    }


def _plan(image: Image, window: str | None) -> Facts:
    """What normalize would do, or why it would refuse."""
    if image.normalized and window is None:
        return {"rule": "none", "shown_range": [0, 255], "problem": None}
    try:
        rule, low, high = find_intensity_bounds(image, window)
    except IntensityError as error:
        return {"rule": None, "shown_range": None, "problem": f"{error.got}; {error.fix}"}
    return {"rule": rule.value, "shown_range": [round(low, 4), round(high, 4)], "problem": None}


def _frame(grid: Grid, model: str | None) -> Facts:
    manifest = _manifest(model)
    frame = manifest.make_frame(*grid.shape[1:])
    return {
        "model": manifest.name,
        "frame": {"size": manifest.frame_size, "fit": manifest.fit, "slice_becomes": list(frame.inner_hw)},
    }


def _manifest(model: str | None) -> Manifest:
    name = model or DEFAULT
    return CATALOG[name].manifest if name in CATALOG else resolve(name)[1]


def _labels(path: Path, reference: Path | None, choice: FileOptions) -> Facts:
    """A file that can only be a mask."""
    grid = None if reference is None else read_grid(reference, choice)
    mask = read_mask(path, reference=grid, volume=choice.volume)
    counts = {label: int((mask.labels == label).sum()) for label in mask.ids}
    found = [{"label": i, "name": mask.names.get(i), "voxels": counts[i]} for i in mask.ids]
    return _place(mask.grid) | {"dtype": mask.labels.dtype.name, "labels": found}
