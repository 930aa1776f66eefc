"""Frames of DICOM objects sorted into volumes: by series, size, orientation and stack, and by what parts repeated places."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medsam.io.dicom.attributes import read_number, read_text
from medsam.io.dicom.files import PIXEL_TAGS, Instance, guard_parsing
from medsam.io.dicom.planes import HIDDEN_TRAITS, SAME_PLACE_MM, TRAITS, Plane, list_planes, project_on_normal

SAME_DIRECTION = 1e-3  # largest difference of a component of the orientation within one volume


@dataclass(frozen=True)
class SeriesSummary:
    """One volume, image or cine that can be read, without anything about the patient.

    Args:
        key: What to pass as `series`: the number of the volume among all that were found, from 1. It follows from the
            content of the files and not from their names.
        uid: SeriesInstanceUID, which may be passed too where it is not shared.
        part: Which volume of its series, from 1; UID#part may be passed too.
        modality: DICOM Modality code.
        files: How many objects.
        shape: (D, H, W).
        localizer: Whether it is a scout.
        note: What tells it from its neighbours, such as "localizer" or "EchoNumbers 2".
    """

    key: str
    uid: str
    part: int
    modality: str
    files: int
    shape: tuple[int, int, int]
    localizer: bool = False
    note: str = ""

    def matches(self, series: str) -> bool:
        """Whether a caller who asks for `series` means this one."""
        return series in (self.key, self.uid, f"{self.uid}#{self.part}")

    def __str__(self) -> str:
        depth, height, width = self.shape
        note = f", {self.note}" if self.note else ""
        return f"{self.key} ({self.modality}, {self.files} files, {depth} x {height} x {width}{note})"


@dataclass(frozen=True, eq=False)
class FrameGroup:
    """Frames that make one volume, sorted along the normal, and how to name them."""

    summary: SeriesSummary
    planes: tuple[Plane, ...]


def group_planes(instances: Sequence[Instance]) -> list[FrameGroup]:
    """Sort frames into volumes by series, size, orientation, stack and, where positions repeat, what tells them apart.

    Copies of the same object count once: equal SOPInstanceUID, place and pixels. Different images that share a
    SOPInstanceUID, as careless anonymizers leave them, are all kept.

    Returns:
        The volumes in an order that follows from their headers alone, so that their keys are the same wherever the
        files lie and whatever they are called.
    """
    buckets: dict[tuple[object, ...], list[list[Plane]]] = {}
    for planes in _without_copies(instances):
        for plane in planes:
            alike = buckets.setdefault((plane.series, plane.shape, plane.stack, plane.localizer, _is_cine(plane)), [])
            for members in alike:
                if _same_direction(members[0], plane):
                    members.append(plane)
                    break
            else:
                alike.append([plane])
    found = sorted((members for alike in buckets.values() for members in alike), key=_rank)
    parted = [part for members in found for part in _split(_sorted_by_place(members))]
    seen: Counter[str] = Counter()
    groups = []
    for number, (members, note) in enumerate(parted, start=1):
        seen[members[0].series] += 1
        summary = _summary(members, str(number), seen[members[0].series], note)
        groups.append(FrameGroup(summary, tuple(members)))
    return groups


def _rank(members: Sequence[Plane]) -> tuple[object, ...]:
    header = members[0].instance.header
    first = min(plane.number for plane in members)
    uid = min(read_text(plane.instance.header, "SOPInstanceUID") for plane in members)
    return read_number(header, "SeriesNumber"), members[0].series, members[0].localizer, first, -len(members), uid


def _summary(members: Sequence[Plane], key: str, part: int, note: str) -> SeriesSummary:
    first = members[0]
    note = ", ".join(words for words in ("localizer" if first.localizer else "", note) if words)
    modality = read_text(first.instance.header, "Modality")[:16] or "?"
    files = len({id(plane.instance) for plane in members})
    shape = (len(members), *first.shape[:2])
    return SeriesSummary(key, first.series, part, modality, files, shape, first.localizer, note)


def _is_cine(plane: Plane) -> int | None:
    """Frames without a place make a volume only with frames of their own object."""
    return id(plane.instance) if plane.position_mm is None or plane.axes is None else None


def _without_copies(instances: Sequence[Instance]) -> Iterator[list[Plane]]:
    """The frames of each object that is not the copy of one before."""
    seen: dict[tuple[object, ...], list[Instance]] = {}
    for number, instance in enumerate(instances):
        planes = list_planes(instance)
        uid = read_text(instance.header, "SOPInstanceUID") or number
        before = seen.setdefault((uid, instance.pixel_bytes, *map(_identity, planes)), [])
        if not before or _digest(instance) not in map(_digest, before):
            before.append(instance)
            yield planes


def _identity(plane: Plane) -> tuple[object, ...]:
    """What copies of a frame have in common, before any pixel is compared."""
    place = [None if part is None else part.tobytes() for part in (plane.position_mm, plane.axes)]
    return *place, plane.series, plane.shape, plane.number, plane.slope, plane.intercept, plane.traits


def _digest(instance: Instance) -> bytes:
    """A digest of the stored pixels."""
    digest = hashlib.sha256()
    with guard_parsing(instance.name):
        dataset = instance.load()
        for tag in sorted(PIXEL_TAGS & set(dataset.keys())):
            digest.update(dataset.get_item(tag).value)
    return digest.digest()


def _same_direction(one: Plane, other: Plane) -> bool:
    if one.axes is None or other.axes is None:
        return one.axes is other.axes
    return bool(np.abs(one.axes - other.axes).max() <= SAME_DIRECTION)


def _sorted_by_place(planes: list[Plane]) -> list[Plane]:
    if _is_cine(planes[0]) is not None:
        return sorted(planes, key=lambda plane: plane.number)
    order = np.lexsort((np.array([plane.number for plane in planes]), project_on_normal(planes)))
    return [planes[i] for i in order]


def _split(planes: list[Plane]) -> list[tuple[list[Plane], str]]:
    """Part frames that share positions into volumes of one position each, if one header value tells them apart."""
    if _is_cine(planes[0]) is not None or not _is_doubled(planes):
        return [(planes, "")]
    for index, name in enumerate(TRAITS):
        parts: dict[str, list[Plane]] = {}
        for plane in planes:
            parts.setdefault(plane.traits[index], []).append(plane)
        if _tells_apart(name, planes, list(parts.values())):
            shown = "" if name in HIDDEN_TRAITS else " {}"
            return [(parts[value], f"{name}{shown.format(value)[:40]}") for value in sorted(parts, key=_natural)]
    return [(planes, "")]


def _tells_apart(name: str, planes: Sequence[Plane], parts: Sequence[Sequence[Plane]]) -> bool:
    """Whether parts are volumes of their own: as many places in each, none doubled.

    Every slice may have a time of its own, so by a time only volumes that cover all places are told apart, and single
    slices only where there is but one place. A slice that an export doubled stays what it is.
    """
    sizes = {len(part) for part in parts}
    if len(parts) < 2 or len(sizes) > 1 or any(_is_doubled(part) for part in parts):
        return False
    places = 1 + int((np.diff(project_on_normal(planes)) >= SAME_PLACE_MM).sum())
    return sizes == {places} or (name not in HIDDEN_TRAITS and sizes != {1})


def _natural(value: str) -> tuple[bool, float, str]:
    """Numbers in their order, before and apart from text."""
    try:
        return False, float(value), value
    except ValueError:
        return True, 0.0, value


def _is_doubled(planes: Sequence[Plane]) -> bool:
    return len(planes) > 1 and bool(np.diff(project_on_normal(planes)).min() < SAME_PLACE_MM)
