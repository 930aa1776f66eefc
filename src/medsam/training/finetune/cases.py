"""The cases of a user who fine-tunes: images paired with masks, and divided by patient."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from medsam.errors import DataError
from medsam.io.pairs import pair_files
from medsam.training.samples.sources import UserCase


def pair_cases(images: Path, masks: Path, patient: str = "") -> list[UserCase]:
    """Pair images with the masks of the same name, whatever their suffixes.

    Args:
        images: Folder.
        masks: Folder.
        patient: Regular expression; what it finds in a name, or its first group, says whose case it is. Without one
            every file is a patient.

    Raises:
        DataError: a folder is missing, an image has no mask or several, there are fewer than two patients, or the
            expression is none or finds nothing in a name.
    """
    try:
        whose = re.compile(patient)
    except re.error as error:
        raise DataError(
            f"--patient {patient!r} is no regular expression ({error})", expected="one like '^[^_]+'", fix="correct it"
        ) from None
    cases = [UserCase(name, image, mask, _patient_of(name, whose)) for name, image, mask in pair_files(images, masks)]
    patients = len({case.patient for case in cases})
    if patients < 2:
        what = f"{len(cases)} cases of {patients} patients" if patient else f"{len(cases)} cases"
        raise DataError(f"{what} in {images}", expected="two or more, one to measure on", fix="add cases")
    return cases


def _patient_of(name: str, whose: re.Pattern[str]) -> str:
    if not whose.pattern:
        return name
    found = whose.search(name)
    patient = found and (found[1] if whose.groups else found[0])
    if not patient:
        raise DataError(
            f"--patient {whose.pattern!r} finds nothing in {name!r}",
            expected="the patient in the name of every case",
            fix="correct it, or rename the files",
        )
    return patient


def split_cases(cases: Sequence[UserCase], held_out: float, seed: int) -> tuple[list[UserCase], list[UserCase]]:
    """Divide cases into those to learn from and those to measure on, by a hash of whose they are.

    At least one patient's cases are in each part.

    Raises:
        DataError: held_out is not between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise DataError(f"held_out is {held_out}", expected="more than 0 and less than 1", fix="pass --held-out 0.2")
    patients = sorted({case.patient for case in cases}, key=lambda name: zlib.crc32(f"{seed}/{name}".encode()))
    aside = set(patients[: min(max(1, round(len(patients) * held_out)), len(patients) - 1)])
    return [case for case in cases if case.patient not in aside], [case for case in cases if case.patient in aside]
