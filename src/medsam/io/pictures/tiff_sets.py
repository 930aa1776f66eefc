"""OME-TIFF sets: several files that one description joins into one image.

tifffile opens whatever names the description holds and puts zeros where a file is missing. Here the names must lie
beside the file that was asked for, every file must be there, and every plane must be in one of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from medsam.errors import InputFileError
from medsam.io.limits import resolve_beside

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

MAX_FILES = 10_000


def find_companions(path: Path, description: str | None) -> list[Path]:
    """Find the other files of the set that a file belongs to, before tifffile opens them.

    Args:
        path: The file that was asked for.
        description: Its OME-XML, None where it has none.

    Returns:
        The other files, all beside `path` or below; none where the file stands alone.

    Raises:
        InputFileError: a file is missing, lies outside the folder, or another file holds the description of the set.
    """
    try:
        root = ElementTree.fromstring(description or "<none/>")  # noqa: S314 - tifffile parses the same text so
    except ElementTree.ParseError:
        return []  # tifffile then takes the pages as they come and opens no other file
    own = root.get("UUID")
    names: list[str] = []
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag == "BinaryOnly":
            raise InputFileError(
                f"{path} is one file of an OME-TIFF set, described in {element.get('MetadataFile', 'another file')!r}",
                expected="a file that describes its own planes",
                fix="read the file that describes the set, or save the set as one file",
            )
        name = element.get("FileName", "")
        alone = (own is not None and element.text == own) or name.lower() == path.name.lower()
        if tag == "UUID" and not alone and name not in names:
            names.append(name)
    if len(names) > MAX_FILES:
        raise InputFileError(
            f"{path} names {len(names)} other files", expected=f"at most {MAX_FILES}", fix="save the set as fewer files"
        )
    return [_find_beside(path, name) for name in names]


def _find_beside(path: Path, name: str) -> Path:
    try:
        return resolve_beside(path, name)
    except InputFileError as error:
        raise InputFileError(
            f"{path} is one file of an OME-TIFF set, of which {name!r} is not beside it",
            expected=error.expected,
            fix="copy the whole set into one folder, or save it as one file",
        ) from None


def refuse_lost_planes(series: TiffPageSeries, path: Path) -> None:
    """Refuse a series of which some planes are in no file: tifffile would fill them with zeros.

    Raises:
        InputFileError: a plane is missing.
    """
    missing = sum(page is None for page in series.pages)
    if missing:
        raise InputFileError(
            f"{path} describes {len(series.pages)} planes, of which {missing} are in no file",
            expected="every plane that the OME description counts",
            fix="copy the whole set into one folder, or export it again",
        )
