"""How far annotators agree on a case, and what they say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError
from medsam.evaluation.metrics import TOLERANCE_MM, dice, normalized_surface_distance
from medsam.evaluation.tables import Table
from medsam.imaging.image import Grid, Mask

CONSENSUS = "consensus"  # in whose name a consensus is saved; no annotator may be called so
BEYOND_A_TIE = 0.5 + 1e-6  # what two annotators see differently is as likely as not


@dataclass(frozen=True)
class Agreement:
    """How far two annotators agree on one object.

    Args:
        label: Of the object.
        name: Of the object, where it has one.
        first: An annotator.
        second: Another one.
        dice: Overlap, 0 to 1; 1 where both have nothing.
        nsd: Share of both surfaces within the tolerance of the other, 0 to 1.
        first_voxels: How many the first has.
        second_voxels: How many the second has.
        first_ml: Volume of the first; None without spacing.
        second_ml: Of the second.
        volume_difference: (second - first) / their mean; 0 where both have nothing.
    """

    label: int
    name: str | None
    first: str
    second: str
    dice: float
    nsd: float
    first_voxels: int
    second_voxels: int
    first_ml: float | None
    second_ml: float | None
    volume_difference: float


def compare_annotators(masks: Mapping[str, Mask], *, tolerance_mm: float = TOLERANCE_MM) -> list[Agreement]:
    """Compare every two annotators on every object that one of them has.

    Args:
        masks: Annotator to mask, all on one grid.
        tolerance_mm: Of the surface distance; in pixels where the spacing is unknown.

    Raises:
        DataError: fewer than two annotators.
    """
    _check_count(masks)
    rows = []
    for label in sorted({label for mask in masks.values() for label in mask.ids}):
        for first, second in combinations(sorted(masks), 2):
            a, b = masks[first], masks[second]
            counts = [int(np.count_nonzero(mask.labels == label)) for mask in (a, b)]
            mm3 = _voxel_mm3(a.grid)
            first_ml, second_ml = (None if mm3 is None else count * mm3 / 1000 for count in counts)
            rows.append(
                Agreement(
                    label, a.names.get(label) or b.names.get(label), first, second, dice(a, b, label=label),
                    normalized_surface_distance(a, b, label=label, tolerance_mm=tolerance_mm), counts[0], counts[1],
                    first_ml, second_ml, 2 * (counts[1] - counts[0]) / max(1, sum(counts)),
                )
            )  # fmt: skip
    return rows


def tabulate_agreement(rows: Sequence[tuple[int, Agreement]], *, tolerance_mm: float = TOLERANCE_MM) -> Table:
    """Tabulate how far annotators agree.

    Args:
        rows: The number of a case, and two of its annotators on one object.
        tolerance_mm: Of the surface distance.
    """
    columns = (
        "Case", "Object", "First", "Second", "Dice", "NSD", "First (ml)", "Second (ml)", "Volume difference (%)",
    )  # fmt: skip
    cells = tuple(
        (
            case, one.name or one.label, one.first, one.second, f"{one.dice:.4f}", f"{one.nsd:.4f}",
            "" if one.first_ml is None else f"{one.first_ml:.3f}", "" if one.second_ml is None else f"{one.second_ml:.3f}",
            f"{100 * one.volume_difference:.1f}",
        ) for case, one in rows
    )  # fmt: skip
    note = f"NSD at {tolerance_mm:g} mm. Volume difference: second less first, of their mean."
    return Table("agreement", "Agreement of annotators", columns, cells, note=note)


def make_consensus(masks: Mapping[str, Mask]) -> NDArray[np.uint16]:
    """Make one mask of several: of each object the voxels that are likelier in than out by STAPLE.

    STAPLE weighs each annotator by how well they fit the others, in the box around what any of them drew. A tie, which
    two annotators alone may leave, is out. Where objects overlap the likelier one wins, then the lower label.

    Args:
        masks: Annotator to mask, all on one grid.

    Returns:
        Labels (D, H, W).

    Raises:
        DataError: fewer than two annotators.

    Source: Warfield et al. 2004, as in SimpleITK.
    """
    _check_count(masks)
    labels_NDHW = np.stack([masks[who].labels for who in sorted(masks)])
    made = np.zeros(labels_NDHW.shape[1:], np.uint16)
    best = np.full(made.shape, BEYOND_A_TIE)
    for label in sorted({label for mask in masks.values() for label in mask.ids}):
        own_NDHW = labels_NDHW == label
        box = _box_around(own_NDHW.any(axis=0))
        likely = _staple(own_NDHW[:, *box])
        won = (likely > best[box]) & own_NDHW[:, *box].any(
            axis=0
        )  # of worse than random masks STAPLE believes the contrary
        made[box][won] = label
        best[box][won] = likely[won]
    return made


def _staple(own_NDHW: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How likely each voxel belongs to the object."""
    import SimpleITK as sitk

    first_DHW: NDArray[np.bool_] = own_NDHW[0]
    if (own_NDHW == first_DHW).all():
        return first_DHW.astype(np.float64)  # STAPLE divides by zero where an object fills its box
    images = [sitk.GetImageFromArray(own.astype(np.uint8)) for own in own_NDHW]
    likely: NDArray[np.float64] = np.asarray(sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0)), np.float64)
    if not np.isfinite(likely).all():
        raise DataError(
            "masks from which STAPLE makes no consensus", expected="annotators who agree somewhere",
            fix="compare them with medsam project agreement, and leave out who drew something else",
        )  # fmt: skip
    return likely


def _box_around(mask_DHW: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The box of a mask, one voxel wider where the image goes on."""
    ends = [np.flatnonzero(mask_DHW.any(axis=tuple(j for j in range(3) if j != i))) for i in range(3)]
    return tuple(slice(max(0, int(own[0]) - 1), int(own[-1]) + 2) for own in ends)


def _voxel_mm3(grid: Grid) -> float | None:
    if grid.spacing_mm is None or grid.affine is None:
        return None
    return float(abs(np.linalg.det(grid.affine[:3, :3])))


def _check_count(masks: Mapping[str, Mask]) -> None:
    if len(masks) < 2:
        raise DataError(
            f"masks of {len(masks)} annotators", expected="two or more", fix="let another one annotate the case"
        )
