"""`medsam info`: what a file holds, where it lies, and what medsam would do with it. No name, date or UID is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from medsam.imaging.image import Grid, Image
    from medsam.models.manifest import Manifest

Facts = dict[str, object]
PLANES = {"I": "axial", "S": "axial", "A": "coronal", "P": "coronal", "R": "sagittal", "L": "sagittal"}
WORDS = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "I": "inferior", "S": "superior"}


def info(
    file: Path,
    /,
    *,
    modality: str | None = None,
    window: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    model: str | None = None,
    series: str | None = None,
    geometry: Literal["refuse", "resample"] = "refuse",
    volume: int | None = None,
    reference: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show shape, spacing, orientation, values and modality of an image or mask, and what would be done with it.

    Parameters
    ----------
    file
        An image file, a mask file, or a DICOM folder.
    modality
        CT, MR, ultrasound, ... where the file does not say.
    window
        CT window to try: soft-tissue, lung, brain, bone, ... or width,level.
    model
        Catalog name or weights file whose frame is shown; the default model without it.
    series
        SeriesInstanceUID to take from a DICOM folder that holds several.
    geometry
        Refuse DICOM series with gaps or tilt, or resample them onto a regular grid.
    volume
        Which volume of a file that holds several, from 0.
    reference
        The image a mask belongs to, for contours and surfaces, which have no voxels of their own.
    json
        Print JSON instead of lines.
    """
    from medsam.io.formats import format_of, read_image

    row = format_of(file)
    facts: Facts = {"file": str(file), "format": row.name}
    if "read_image" in row.can and not _is_dicom_mask(file, row.name):
        image = read_image(file, modality=modality, series=series, geometry=geometry, volume=volume)
        facts |= _place(image.grid) | _values(image) | _plan(image, window) | _frame(image.grid, model)
    else:
        facts |= _labels(file, reference, volume)
    _show(facts, as_json=json)
    return 0


def _is_dicom_mask(file: Path, format_name: str) -> bool:
    """Whether this is a DICOM SEG or RTSTRUCT; a folder is looked at as a series."""
    from medsam.io.dicom_seg import holds_mask

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
    import numpy as np

    assert grid.affine is not None  # noqa: S101 - Grid always sets it
    axes = np.abs(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    return float(np.degrees(np.arccos(np.clip(axes.max(axis=0), 0, 1))).max())


def _values(image: Image) -> Facts:
    import numpy as np

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
    from medsam.errors import IntensityError
    from medsam.imaging.intensity import intensity_bounds

    if image.normalized and window is None:
        return {"rule": "none", "shown_range": [0, 255], "problem": None}
    try:
        rule, low, high = intensity_bounds(image, window)
    except IntensityError as error:
        return {"rule": None, "shown_range": None, "problem": f"{error.got}; {error.fix}"}
    return {"rule": rule.value, "shown_range": [round(low, 4), round(high, 4)], "problem": None}


def _frame(grid: Grid, model: str | None) -> Facts:
    from medsam.imaging.frame import Frame

    manifest = _manifest(model)
    frame = Frame(*grid.shape[1:], manifest.frame_size, manifest.fit, manifest.interpolation, manifest.scaling)
    return {
        "model": manifest.name,
        "frame": {"size": manifest.frame_size, "fit": manifest.fit, "slice_becomes": list(frame.inner_hw)},
    }


def _manifest(model: str | None) -> Manifest:
    from medsam.models.catalog import CATALOG, DEFAULT, resolve

    name = model or DEFAULT
    return CATALOG[name].manifest if name in CATALOG else resolve(name)[1]


def _labels(file: Path, reference: Path | None, volume: int | None) -> Facts:
    """A file that can only be a mask."""
    from medsam.io.formats import read_mask

    mask = read_mask(file, reference=reference, volume=volume)
    counts = {label: int((mask.labels == label).sum()) for label in mask.ids}
    found = [{"label": i, "name": mask.names.get(i), "voxels": counts[i]} for i in mask.ids]
    return _place(mask.grid) | {"dtype": mask.labels.dtype.name, "labels": found}


def _show(facts: Facts, *, as_json: bool) -> None:
    import json

    if as_json:
        print(json.dumps(facts, indent=1))
        return
    for name, text in _lines(facts):
        print(f"{name:12} {text}")


def _lines(facts: Facts) -> list[tuple[str, str]]:
    lines = [("file", str(facts["file"])), ("format", str(facts["format"]))]
    lines.append(("shape", f"{_by(facts['shape'])} (slices x rows x columns){' RGB' * (facts.get('channels') == 3)}"))
    lines.append(
        ("spacing", f"{_by(facts['spacing_mm'])} mm" if facts["spacing_mm"] else "unknown; distances count in pixels")
    )
    if facts["orientation"]:
        code = str(facts["orientation"])
        to = ", ".join(f"{axis} to {WORDS[c]}" for axis, c in zip(("slices", "rows", "columns"), code, strict=True))
        tilt = f", {facts['oblique_degrees']} degrees oblique" if facts["oblique_degrees"] else ""
        lines.append(("orientation", f"{code}: {to} ({facts['plane']}{tilt})"))
        lines.append(("origin", f"{_by(facts['origin_mm'], ', ')} mm (left, posterior, superior)"))
    if "labels" in facts:
        listed = [f"{item['label']} {item['name'] or ''} ({item['voxels']} voxels)" for item in facts["labels"]]  # type: ignore[attr-defined]
        return [*lines, ("labels", "; ".join(" ".join(text.split()) for text in listed) or "none")]
    return lines + _image_lines(facts)


def _image_lines(facts: Facts) -> list[tuple[str, str]]:
    spoiled = f", {facts['not_finite']} NaN or infinite" if facts["not_finite"] else ""
    span = _by(facts["range"], " to ") if facts["range"] else "no finite value"
    window = facts["window"]
    frame = facts["frame"]
    size, fit = frame["size"], "stretched" if frame["fit"] == "squash" else "padded"  # type: ignore[index]
    return [
        ("values", f"{facts['dtype']}, {span}{spoiled}"),
        ("modality", str(facts["modality"] or "unknown")),
        ("window", f"W{window[0]:g} L{window[1]:g}, from the file" if window else "none in the file"),  # type: ignore[index]
        ("intensities", _intensities(facts)),
        ("model", f"{facts['model']}: a slice becomes {_by(frame['slice_becomes'])} in a {size} x {size} frame, {fit}"),  # type: ignore[index]
    ]


def _intensities(facts: Facts) -> str:
    if facts["problem"]:
        return f"cannot be normalized: {facts['problem']}"
    if facts["rule"] == "none":
        return "in [0, 255] already"
    return f"rule {facts['rule']}: {_by(facts['shown_range'], ' to ')} becomes 0 to 255"


def _by(values: object, between: str = " x ") -> str:
    return between.join(f"{value:g}" for value in values)  # type: ignore[attr-defined]
