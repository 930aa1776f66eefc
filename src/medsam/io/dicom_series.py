"""Series of DICOM objects: what a folder holds, which frames belong to one volume, and in which order they lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from medsam.errors import GeometryError, InputFileError
from medsam.io.dicom_files import Instance, quiet, read_contents, untrusted
from medsam.io.dicom_planes import HIDDEN_TRAITS, TRAITS, Plane, planes_of

SAME_PLACE_MM = 0.01
SAME_DIRECTION = 1e-3  # largest difference of a component of the orientation within one volume
SHOWN = 20  # groups named in a message
NOT_IMAGES = frozenset({"SEG", "RTDOSE", "PR", "KO"})


@dataclass(frozen=True)
class SeriesSummary:
    """One volume, image or cine that can be read, without anything about the patient.

    Args:
        key: What to pass as `series`: the SeriesInstanceUID, with #2, #3 ... where a series holds several volumes.
        uid: SeriesInstanceUID.
        modality: DICOM Modality code.
        files: How many objects.
        shape: (D, H, W).
        note: What tells it from its neighbours, such as "localizer" or "EchoNumbers 2".
    """

    key: str
    uid: str
    modality: str
    files: int
    shape: tuple[int, int, int]
    note: str = ""

    def __str__(self) -> str:
        depth, height, width = self.shape
        note = f", {self.note}" if self.note else ""
        return f"{self.key} ({self.modality}, {self.files} files, {depth} x {height} x {width}{note})"


@dataclass(frozen=True, eq=False)
class Group:
    """Frames that make one volume, sorted along the normal, and how to name them."""

    summary: SeriesSummary
    planes: tuple[Plane, ...]


def series_of(path: str | Path) -> list[SeriesSummary]:
    """List what a DICOM file, folder or zip holds.

    Raises:
        InputFileError: nothing is DICOM, or a DICOM file is broken.
    """
    with quiet():
        return [group.summary for group in group_planes(read_contents(Path(path)).instances)]


def source_datasets(path: str | Path, series: str | None = None) -> list[Dataset]:
    """Headers of the objects of one series, sorted along the normal of its slices, without pixels.

    Args:
        path: A DICOM file, folder or zip.
        series: Which one, as in read_image.

    Returns:
        One dataset per object; for a multi-frame object, one in all.

    Raises:
        InputFileError: nothing is DICOM, a file is broken, or several series are there and none is chosen.
    """
    with quiet():
        group = choose_group(group_planes(read_contents(Path(path)).instances), series, Path(path).name)
    return [instance.header for instance in _unique(plane.instance for plane in group.planes)]


headers = source_datasets


def _unique(instances: Iterable[Instance]) -> list[Instance]:
    return list({id(instance): instance for instance in instances}.values())


def choose_group(groups: Sequence[Group], series: str | None, name: str) -> Group:
    """Take the group a caller asked for, or the only one that is neither a localizer nor a derived object.

    Raises:
        InputFileError: the choice is open, or not there; the message lists every group.
    """
    more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    listed = "; ".join(str(group.summary) for group in groups[:SHOWN]) + more
    if series is not None:
        chosen = [group for group in groups if series in (group.summary.key, group.summary.uid)]
        exact = [group for group in chosen if group.summary.key == series]
        chosen = chosen if len(chosen) == 1 else exact or chosen
        if not chosen:
            raise InputFileError(
                f"series {series} is not in {name}", expected=f"one of: {listed}", fix="pass one of them as series"
            )
    else:
        chosen = [g for g in groups if g.summary.modality not in NOT_IMAGES and "localizer" not in g.summary.note]
        chosen = chosen or list(groups)
    if len(chosen) > 1:
        what = (
            "series"
            if len({group.summary.uid for group in chosen}) > 1
            else "volumes of different orientation, size or kind"
        )
        raise InputFileError(
            f"{name} holds {len(groups)} {what}: {listed}",
            expected="one",
            fix="choose with series= (--series)",
        )
    return chosen[0]


def group_planes(instances: Sequence[Instance]) -> list[Group]:
    """Sort frames into volumes by series, size, orientation, stack and, where positions repeat, what tells them apart.

    Copies of the same object (equal SOPInstanceUID) count once.
    """
    buckets: dict[tuple[object, ...], list[list[Plane]]] = {}
    for instance in _without_copies(instances):
        for plane in planes_of(instance):
            alike = buckets.setdefault((plane.series, plane.shape, plane.stack, plane.localizer, _is_cine(plane)), [])
            for members in alike:
                if _same_direction(members[0], plane):
                    members.append(plane)
                    break
            else:
                alike.append([plane])
    split = [part for alike in buckets.values() for members in alike for part in _split(_ordered(members))]
    totals = Counter(members[0].series for members, _ in split)
    seen: Counter[str] = Counter()
    groups = []
    for members, note in split:
        uid = members[0].series
        seen[uid] += 1
        key = uid if totals[uid] == 1 else f"{uid}#{seen[uid]}"
        groups.append(Group(_summary(members, key, note), tuple(members)))
    return groups


def _summary(members: Sequence[Plane], key: str, note: str) -> SeriesSummary:
    first = members[0]
    note = ", ".join(part for part in ("localizer" if first.localizer else "", note) if part)
    with untrusted(first.instance.name):
        modality = str(first.instance.header.get("Modality") or "?")[:16]
    files = len({id(plane.instance) for plane in members})
    return SeriesSummary(key, first.series, modality, files, (len(members), *first.shape[:2]), note)


def _is_cine(plane: Plane) -> int | None:
    """Frames without a place make a volume only with frames of their own object."""
    return id(plane.instance) if plane.position_mm is None or plane.axes is None else None


def _without_copies(instances: Sequence[Instance]) -> list[Instance]:
    kept: dict[str, Instance] = {}
    for number, instance in enumerate(instances):
        with untrusted(instance.name):
            uid = str(instance.header.get("SOPInstanceUID") or number)
        kept.setdefault(uid, instance)
    return list(kept.values())


def _same_direction(one: Plane, other: Plane) -> bool:
    if one.axes is None or other.axes is None:
        return one.axes is other.axes
    return bool(np.abs(one.axes - other.axes).max() <= SAME_DIRECTION)


def normal_of(plane: Plane) -> NDArray[np.float64]:
    """Unit normal of a frame with a place: row direction cross column direction, LPS."""
    assert plane.axes is not None  # noqa: S101 - callers pass frames with a place
    normal = np.cross(plane.axes[0], plane.axes[1])
    return np.asarray(normal / np.linalg.norm(normal))


def along_normal(planes: Sequence[Plane]) -> NDArray[np.float64]:
    """Distance in mm of each frame's position along the normal of the first one."""
    return np.array([plane.position_mm for plane in planes]) @ normal_of(planes[0])


def _ordered(planes: list[Plane]) -> list[Plane]:
    if planes[0].position_mm is None or planes[0].axes is None:
        return sorted(planes, key=lambda plane: plane.number)
    order = np.lexsort((np.array([plane.number for plane in planes]), along_normal(planes)))
    return [planes[i] for i in order]


def _split(planes: list[Plane]) -> list[tuple[list[Plane], str]]:
    """Part frames that share positions into volumes of one position each, if one header value tells them apart."""
    if _is_cine(planes[0]) is not None or not _doubled(planes):
        return [(planes, "")]
    for index, name in enumerate(TRAITS):
        parts: dict[str, list[Plane]] = {}
        for plane in planes:
            parts.setdefault(plane.traits[index], []).append(plane)
        even = len({len(part) for part in parts.values()}) == 1
        if len(parts) > 1 and even and not any(_doubled(part) for part in parts.values()):
            shown = "" if name in HIDDEN_TRAITS else " {}"
            return [(part, f"{name}{shown.format(value)[:40]}") for value, part in parts.items()]
    return [(planes, "")]


def _doubled(planes: Sequence[Plane]) -> bool:
    return len(planes) > 1 and bool(np.diff(along_normal(planes)).min() < SAME_PLACE_MM)


def refuse_incomplete(group: Group, groups: Sequence[Group]) -> None:
    """Refuse a volume whose series has fewer objects than its own header says its acquisition gave.

    Args:
        group: The volume.
        groups: All that were found with it; other volumes of the series count, for the header does not tell them apart.

    Raises:
        GeometryError: images are missing.
    """
    alike = [plane.instance for other in groups if other.summary.uid == group.summary.uid for plane in other.planes]
    acquisitions: dict[str, list[int]] = {}
    for instance in _unique(alike):
        with untrusted(instance.name):
            acquisition = str(instance.header.get("AcquisitionNumber") or "")
            acquisitions.setdefault(acquisition, []).append(int(instance.header.get("ImagesInAcquisition") or 0))
    for declared in acquisitions.values():
        if len(declared) < max(declared):
            raise GeometryError(
                f"the series has {len(declared)} images of an acquisition of {max(declared)}",
                expected="all of them",
                fix="fetch the missing files, or pass geometry='resample' (--geometry resample) to take what is there",
            )
