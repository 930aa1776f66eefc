"""Values of DICOM attributes, read although exporters write them wrong.

A value that an image can do without counts as absent where it cannot be read. A value that decides what the image is or
where it lies is an error that names the attribute and never repeats its value. DICOM separates values by a backslash
and decimals by a point, so a comma in a number can only be a decimal comma.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from medsam.errors import InputFileError
from medsam.io.dicom.files import PARSE_ERRORS, RECOPY

SANE = 1e12  # no millimetre, slope or window is larger


def read_parts(dataset: Dataset, keyword: str) -> tuple[object, ...]:
    """The values of an attribute, as text where the parser cannot make more of them; empty where there are none."""
    value: object
    try:
        value = dataset.get(keyword)
    except PARSE_ERRORS:
        element = dataset.get_item(Tag(keyword))
        stored = getattr(element, "value", None)
        value = stored.decode("latin-1").split("\\") if isinstance(stored, bytes) else None
    if value is None or value == "":
        return ()
    return (value,) if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)


def read_text(dataset: Dataset, keyword: str) -> str:
    """An attribute as text, its values joined by backslashes as in the file; empty where there is none."""
    return "\\".join(str(part) for part in read_parts(dataset, keyword)).strip(" \0")


def to_numbers(parts: Iterable[object]) -> tuple[float, ...] | None:
    """The numbers that values are; None where one of them is not a number, or absurdly large."""
    try:
        numbers = tuple(float(str(part).strip(" \0").replace(",", ".")) for part in parts)
    except ValueError:
        return None
    return numbers if all(abs(number) < SANE for number in numbers) else None  # NaN is not below anything


def read_number(dataset: Dataset, keyword: str, default: float = 0.0) -> float:
    """The first value of an attribute that an image can do without."""
    numbers = to_numbers(read_parts(dataset, keyword)[:1])
    return numbers[0] if numbers else default


def require_numbers(parts: tuple[object, ...], count: int, keyword: str, name: str) -> tuple[float, ...] | None:
    """`count` numbers, or None if there is no value at all.

    Args:
        parts: The values of the attribute.
        count: How many there must be.
        keyword: The attribute, for the message.
        name: The file, for the message.

    Raises:
        InputFileError: anything between; the message does not repeat the value.
    """
    if not parts:
        return None
    numbers = to_numbers(parts)
    if numbers is None or len(numbers) != count:
        what = "a number" if count == 1 else f"{count} numbers"
        raise InputFileError(f"{name} has a {keyword} that is not {what}", expected=what, fix=RECOPY)
    return numbers


def require_whole(dataset: Dataset, keyword: str, name: str, default: int | None = None) -> int:
    """A whole number that the image cannot be read without.

    Args:
        dataset: The header.
        keyword: The attribute.
        name: The file, for the message.
        default: What an absent value stands for; without it the value must be there.

    Raises:
        InputFileError: it is absent or no whole number.
    """
    numbers = require_numbers(read_parts(dataset, keyword)[:1], 1, keyword, name)
    if numbers is None and default is not None:
        return default
    if numbers is None or not numbers[0].is_integer():
        raise InputFileError(f"{name} has no usable {keyword}", expected="a whole number", fix=RECOPY)
    return int(numbers[0])
