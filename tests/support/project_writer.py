"""A writer of a project as a process: PROJECT CASE NAME COUNT [LOGS]; logs each revision it was told is saved."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from medsam.annotation.study.project import Project, create_project, open_project
from medsam.errors import ConflictError

SHAPE = (2, 4, 5)


def mask(value: int) -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint8)
    labels[0, 1, 2] = value
    return labels


def started(address: str | Path) -> tuple[Project, str]:
    project = create_project(address)
    return project, project.add_case("scan.nii.gz", SHAPE, "f" * 64, {"modality": "CT"}).id


def save_many(address: str, case: str, name: str, count: int, logs: Path) -> None:
    """Save on one line with others: fetch the latest version where another came first."""
    with open_project(address) as project, open(logs / f"{name}.log", "a", buffering=1) as log:
        for number in range(count):
            while True:
                seen = project.head(case, "team").version
                try:
                    revision, _ = project.save(case, "team", mask(1 + number % 9), seen=seen, kind="edit")
                except ConflictError:
                    continue
                log.write(f"{revision}\n")
                break


if __name__ == "__main__":
    place, of_case, who, times, *log_folder = sys.argv[1:]
    save_many(place, of_case, who, int(times), Path(log_folder[0] if log_folder else place))
