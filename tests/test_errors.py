"""Errors: one line of three parts that survives a process border."""

from __future__ import annotations

import inspect
import pickle

import pytest

from medsam import errors
from medsam.errors import MedsamError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, MedsamError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_came_what_is_needed_and_what_to_do(kind: type[MedsamError]) -> None:
    error = kind("slice is 9", expected="0 to 5", fix="choose a slice of the image")
    assert str(error) == "slice is 9; expected 0 to 5; choose a slice of the image"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.got, again.expected, again.fix) == (kind, error.got, error.expected, error.fix)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("dicomweb://user:secret@host/x", "dicomweb://host/x"),
        ("dicomweb:/user:secret@host/x", "dicomweb:/host/x"),
        ("https://user:se/cr@et@host", "https://host"),
        ("C:/scans/secret@home.nii", "C:/scans/secret@home.nii"),
        ("scans/secret@home.nii", "scans/secret@home.nii"),
    ],
)
def test_no_address_shows_a_password(address: str, shown: str) -> None:
    error = errors.InputFileError(f"{address} is away", expected=f"not {address}", fix=f"ask {address}")
    assert str(error) == f"{shown} is away; expected not {shown}; ask {shown}"
    assert (error.got, error.fix) == (f"{shown} is away", f"ask {shown}")
