"""Files of two folders paired by their names, whatever their suffixes."""

from __future__ import annotations

from pathlib import Path

from medsam.errors import DataError
from medsam.io.suffixes import find_suffix


def pair_files(images: Path, masks: Path) -> list[tuple[str, Path, Path]]:
    """Pair images with the masks of the same name: (name, image, mask), by name.

    Raises:
        DataError: a folder is missing, an image has no mask, or a folder has two files of one name.
    """
    for folder in (images, masks):
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder", expected="a folder of image files", fix="check the path")
    known = name_files(masks)
    paired = []
    for name, image in sorted(name_files(images).items()):
        if name not in known:
            raise DataError(
                f"{image} has no mask in {masks}", expected=f"a file {name}.*", fix="add it or take the image out"
            )
        paired.append((name, image, known[name]))
    return paired


def list_unpaired(images: Path, masks: Path) -> list[str]:
    """List what in the two folders is part of no pair, each with the reason, for the user to know."""
    left = [
        f"{path} has a suffix that no reader knows"
        for folder in (images, masks)
        for path in _visible_files(folder)
        if _suffix(path) is None
    ]
    names = name_files(images)
    return left + [f"{path} has no image in {images}" for name, path in name_files(masks).items() if name not in names]


def name_files(folder: Path) -> dict[str, Path]:
    """Name the files of known formats in a folder, and the folders in it, as those of DICOM series.

    Raises:
        DataError: two have one name.
    """
    files: dict[str, Path] = {}
    for path in _visible_files(folder):
        suffix = _suffix(path)
        if suffix is None:
            continue
        name = path.name[: len(path.name) - len(suffix)]
        if name in files:
            raise DataError(
                f"{folder} has {files[name].name} and {path.name}", expected="one file a case", fix="take one out"
            )
        files[name] = path
    return files


def _suffix(path: Path) -> str | None:
    """Of a file of a known format; a folder, as of a DICOM series, has none."""
    return "" if path.is_dir() else find_suffix(path) or None


def _visible_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
