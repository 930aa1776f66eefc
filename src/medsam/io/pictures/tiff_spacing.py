"""The spacing a TIFF states in metric units: OME's PhysicalSize, ImageJ's calibration, or pixels per centimetre."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

Sizes = dict[str, float]  # mm of a pixel along X, Y and Z, where stated
TO_MM: Mapping[str, float] = {
    "m": 1e3, "meter": 1e3, "metre": 1e3, "dm": 100.0, "cm": 10.0, "centimeter": 10.0, "mm": 1.0, "millimeter": 1.0,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "nm": 1e-6, "pm": 1e-9,
}  # fmt: skip
CENTIMETRE = 3  # of the tag ResolutionUnit; 2 is an inch
PRINT_DPI = (72, 96, 150, 300, 600)  # per inch: how large to print it, whatever unit it is written in
OUTER_MM = (1e-6, 1e3)  # a pixel beyond it is a mistake of the header


def find_spacing(file: TiffFile, page: TiffPage, depth: int) -> tuple[float, float, float] | None:
    """The spacing (z, y, x) in mm of the pixels as stored.

    Args:
        file: Open.
        page: Its first page.
        depth: Slices; several need a distance of their own, a single one without gets 1 mm.

    Returns:
        None where the file does not say; dots per inch say nothing.
    """
    sizes = _ome(file) or _imagej(file, page) or _tags(page)
    z = sizes.get("Z") or (1.0 if depth == 1 else None)
    y, x = sizes.get("Y"), sizes.get("X")
    if z is None or y is None or x is None or not all(OUTER_MM[0] <= one <= OUTER_MM[1] for one in (z, y, x)):
        return None
    return z, y, x


def _ome(file: TiffFile) -> Sizes:
    found = re.search(r"<(?:\w+:)?Pixels\s[^>]*>", file.ome_metadata or "")
    if found is None:
        return {}
    stated = dict(re.findall(r'(\w+)="([^"]*)"', found.group()))
    sizes = {axis: _number(stated.get(f"PhysicalSize{axis}")) for axis in "XYZ"}
    units = {axis: TO_MM.get(stated.get(f"PhysicalSize{axis}Unit", "µm")) for axis in "XYZ"}
    return {axis: size * unit for axis, size in sizes.items() if size and (unit := units[axis])}


def _imagej(file: TiffFile, page: TiffPage) -> Sizes:
    stated = file.imagej_metadata or {}
    unit = TO_MM.get(str(stated.get("unit", "")).replace("\\u00B5", "µ"))
    if unit is None:
        return {}
    sizes = {axis: unit / density for axis, density in _density(page).items()}
    apart = _number(stated.get("spacing"))
    return {**sizes, "Z": apart * unit} if apart else sizes


def _tags(page: TiffPage) -> Sizes:
    unit = page.tags.get("ResolutionUnit")
    if unit is None or int(unit.value) != CENTIMETRE:
        return {}
    density = _density(page)
    if any(abs(one * 2.54 - dpi) < 1e-3 * dpi for one in density.values() for dpi in PRINT_DPI):
        return {}
    return {axis: 10 / one for axis, one in density.items()}


def _density(page: TiffPage) -> Sizes:
    """Pixels per unit along X and Y, where positive."""
    found = {}
    for axis in "XY":
        tag = page.tags.get(f"{axis}Resolution")
        if tag is not None and np.size(tag.value) == 2 and min(tag.value) > 0:
            found[axis] = tag.value[0] / tag.value[1]
    return found


def _number(text: object) -> float | None:
    """A positive number, or None."""
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if 0 < number < np.inf else None
