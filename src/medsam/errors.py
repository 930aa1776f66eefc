"""What the package raises when the input is at fault: every message says what came, what is needed and what to do."""

from __future__ import annotations

import re

CREDENTIALS = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]+:/{1,2})\S*@")  # pathlib folds the two slashes


def hide_credentials(text: str) -> str:
    """Take user and password out of every address in a text."""
    return CREDENTIALS.sub(r"\1", text)


class MedsamError(Exception):
    """Base of all errors the package raises on purpose; no address in its message shows a password.

    Args:
        got: What came, with the offending value or path.
        expected: What was needed instead.
        fix: What the caller can do, as an imperative clause.
    """

    def __init__(self, got: str, *, expected: str, fix: str) -> None:
        got, expected, fix = map(hide_credentials, (got, expected, fix))
        # A name or a value out of a file may hold line ends; the message is one line.
        super().__init__(" ".join(f"{got}; expected {expected}; {fix}".splitlines()))
        self.got = got
        self.expected = expected
        self.fix = fix

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling, so that errors cross process borders whole."""
        return _rebuild, (type(self), self.got, self.expected, self.fix)


def _rebuild(kind: type[MedsamError], got: str, expected: str, fix: str) -> MedsamError:
    return kind(got, expected=expected, fix=fix)


class InputFileError(MedsamError):
    """A file is missing, empty, truncated, of another format than its name says, or too large to be honest."""


class GeometryError(MedsamError):
    """A grid is invalid, or two grids that must agree do not, or a DICOM series has gaps, doubles or tilt."""


class IntensityError(MedsamError):
    """Pixel values cannot be normalized: NaN, no window for CT, unknown modality, normalized twice."""


class PromptError(MedsamError):
    """A box, point, slice number or previous mask does not fit the image or the model."""


class CheckpointError(MedsamError):
    """A weights file is unreadable, unsafe, of unknown layout, or has missing or surplus keys."""


class ModelUnavailableError(MedsamError):
    """A catalog model is unknown, not in the cache, or could not be downloaded or verified."""


class MissingDependencyError(MedsamError):
    """An optional package is not installed; the message carries the install line."""


class OutputError(MedsamError):
    """A result cannot be written: unknown suffix, labels that do not fit the format, full disk, no reference."""


class RemoteError(MedsamError):
    """A remote archive (PACS, hub) is away, refuses, or broke off."""


class DataError(MedsamError):
    """A data set card, a store or a catalogue is invalid or inconsistent."""


class ConflictError(MedsamError):
    """A revision was saved by somebody else meanwhile; nothing was written, and theirs can be asked for."""
