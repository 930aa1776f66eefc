"""How far the annotators of a project agree, and the consensus of a case as a state like any other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from medsam.annotation.study.agreement import CONSENSUS, Agreement, compare_annotators, make_consensus
from medsam.annotation.study.heads import Head
from medsam.annotation.study.project import Project, ProjectCase
from medsam.errors import DataError
from medsam.imaging.image import Image, Mask
from medsam.jobs.project import find_case_by_number, read_case, read_current_mask


def list_annotators(project: Project, case: ProjectCase) -> list[str]:
    """Who stands at a mask in a case; a consensus is nobody's."""
    return [
        who
        for who in project.annotators(case.id)
        if who != CONSENSUS and project.head(case.id, who).revision is not None
    ]


def agree_on_case(project: Project, case: ProjectCase, image: Image, *, tolerance_mm: float) -> list[Agreement]:
    """Compare all who stand at a mask in a case.

    Args:
        image: The scan of the case.
        tolerance_mm: Of the surface distance.

    Raises:
        DataError: fewer than two do.
    """
    return compare_annotators(_masks(project, case, image, list_annotators(project, case)), tolerance_mm=tolerance_mm)


def agree_on_project(
    project: Project, numbers: Sequence[int] | None, *, tolerance_mm: float
) -> Iterator[tuple[int, Agreement]]:
    """Compare the annotators of every case that two or more have a mask of.

    Args:
        numbers: Of the cases that are meant; all without it.
        tolerance_mm: Of the surface distance.

    Yields:
        The number of the case with each pair and object.

    Raises:
        DataError: no such case, or one of the numbers has fewer than two masks.
    """
    for case in _chosen(project, numbers):
        for row in agree_on_case(project, case, read_case(case), tolerance_mm=tolerance_mm):
            yield case.number, row


def save_consensus(
    project: Project, case: ProjectCase, image: Image, *, annotators: Sequence[str] | None = None
) -> Head:
    """Make the consensus of a case and save it as the state of "consensus", which is listed and exported like others.

    Args:
        image: The scan of the case.
        annotators: Of whose masks; of all without it.

    Raises:
        DataError: fewer than two masks, or an annotator who has none.
    """
    chosen = sorted(set(annotators)) if annotators is not None else list_annotators(project, case)
    of = {who: project.head(case.id, who).revision for who in chosen}
    labels = make_consensus(_masks(project, case, image, chosen))
    seen = project.head(case.id, CONSENSUS).version
    event = {"staple_of": of, "saved": time.time()}
    return project.save(case.id, CONSENSUS, labels, seen=seen, kind="consensus", event=event, locked={})[1]


def save_consensuses(
    project: Project, numbers: Sequence[int] | None, annotators: Sequence[str] | None
) -> Iterator[tuple[int, Head]]:
    """Make and save the consensus of several cases, as save_consensus does.

    Args:
        numbers: Of the cases; all that two or more have a mask of without it.
        annotators: Of whose masks; of all without it.

    Yields:
        The number of each case, and where its consensus stands.

    Raises:
        DataError: no such case, or fewer than two masks.
    """
    for case in _chosen(project, numbers):
        yield case.number, save_consensus(project, case, read_case(case), annotators=annotators)


def _chosen(project: Project, numbers: Sequence[int] | None) -> list[ProjectCase]:
    if numbers is not None:
        return [find_case_by_number(project, number) for number in dict.fromkeys(numbers)]
    chosen = [case for case in project.cases() if len(list_annotators(project, case)) > 1]
    if not chosen:
        raise DataError("no case with masks of two annotators", expected="one or more", fix="see medsam project list")
    return chosen


def _masks(project: Project, case: ProjectCase, image: Image, annotators: Sequence[str]) -> dict[str, Mask]:
    return {who: read_current_mask(project, case, who, image) for who in annotators}
