"""Series of DICOM objects: what a folder holds, and the one that is meant. One key names a volume at every door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from medsam.errors import GeometryError, InputFileError
from medsam.io.dicom.attributes import read_number, read_text
from medsam.io.dicom.files import Instance, read_contents, silence_parser
from medsam.io.dicom.grouping import FrameGroup, SeriesSummary, group_planes

SHOWN = 20  # groups named in a message
NOT_IMAGES = frozenset({"SEG", "RTDOSE", "PR", "KO"})
CHOOSE = "choose with series= (--series)"


def list_series(path: str | Path) -> list[SeriesSummary]:
    """List what a DICOM file, folder or zip holds.

    Raises:
        InputFileError: nothing is DICOM, or a DICOM file is broken.
    """
    with silence_parser():
        return [group.summary for group in group_planes(read_contents(Path(path)).instances)]


def _unique(instances: Iterable[Instance]) -> list[Instance]:
    return list({id(instance): instance for instance in instances}.values())


def list_groups(groups: Sequence[FrameGroup]) -> str:
    """The groups as a message shows them, each after its key."""
    more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    return "; ".join(str(group.summary) for group in groups[:SHOWN]) + more


def select_groups(groups: Sequence[FrameGroup], series: str | None, name: str) -> list[FrameGroup]:
    """The groups that a caller may mean; localizers and derived objects only where there is nothing else.

    Args:
        groups: All that were found.
        series: A key (1, 2, ...), a SeriesInstanceUID, or UID#2 for the second volume of a series; None for any.
        name: Of the file or folder, for messages.

    Raises:
        InputFileError: none of them is meant; the message lists every group.
    """
    found = [group for group in groups if series is None or group.summary.matches(series)]
    if series is not None and not found:
        shown = f"series {series}" if series.isdecimal() else "series of that UID"
        raise InputFileError(f"{name} holds no {shown}", expected=f"one of: {list_groups(groups)}", fix=CHOOSE)
    images = [g for g in found if g.summary.modality not in NOT_IMAGES and not g.summary.localizer]
    return images or found


def choose_group(groups: Sequence[FrameGroup], series: str | None, name: str) -> FrameGroup:
    """The group a caller asked for, or the only one that is neither a localizer nor a derived object.

    Args:
        groups: All that were found.
        series: As in select_groups.
        name: Of the file or folder, for messages.

    Raises:
        InputFileError: the choice is open, or not there; the message lists every group.
        GeometryError: slices that do not say where they lie.
    """
    found = select_groups(groups, series, name)
    if len(found) == 1:
        return found[0]
    nowhere = [group for group in found if _missing_place(group)]
    if len({group.summary.uid for group in found}) > 1:
        what = "series"
    elif nowhere and all(group.summary.shape[0] == 1 for group in nowhere):
        total = sum(len(group.planes) for group in found)
        missing = " and ".join(sorted({word for group in nowhere for word in _missing_place(group)}))
        raise GeometryError(
            f"{len(nowhere)} of {total} slices in {name} have no {missing}, so they make no volume: "
            + list_groups(groups),
            expected="slices that say where they lie",
            fix="export them again with their positions, or take one image with series= (--series)",
        )
    elif len(nowhere) == len(found):
        what = "cines or images without a place"
    else:
        what = f"volumes of different {_differences(found)}"
    raise InputFileError(f"{name} holds {len(found)} {what}: {list_groups(groups)}", expected="one", fix=CHOOSE)


def _missing_place(group: FrameGroup) -> list[str]:
    """The attributes that a group lacks to lie somewhere in the patient."""
    first = group.planes[0]
    place = {"ImagePositionPatient": first.position_mm, "ImageOrientationPatient": first.axes}
    return [name for name, value in place.items() if value is None]


def _differences(groups: Sequence[FrameGroup]) -> str:
    """What tells the volumes of one series apart, in words."""
    firsts = [group.planes[0] for group in groups]
    notes = {group.summary.note.partition(" ")[0] for group in groups}
    differ = {
        "size": len({first.shape for first in firsts}) > 1,
        "kind": len({first.position_mm is None for first in firsts}) > 1,
        "stack": len({first.stack for first in firsts}) > 1,
        ", ".join(sorted(notes)): "" not in notes,
    }
    return " and ".join(word for word, true in differ.items() if true) or "orientation"


def refuse_incomplete(group: FrameGroup, groups: Sequence[FrameGroup]) -> None:
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
        declared = int(read_number(instance.header, "ImagesInAcquisition"))
        acquisitions.setdefault(read_text(instance.header, "AcquisitionNumber"), []).append(declared)
    for numbers in acquisitions.values():
        if len(numbers) < max(numbers):
            raise GeometryError(
                f"the series has {len(numbers)} images of an acquisition of {max(numbers)}",
                expected="all of them",
                fix="fetch the missing files, or pass geometry='resample' (--geometry resample) to take what is there",
            )
