"""The index of a folder of pictures with expert masks, and the pictures and label maps it names.

A folder holds images/, masks/ and index.csv with the columns image, mask, group, mask_kind and split. mask_kind
"labels" means class ids, whose connected components are the targets; "instances" means one id per target. The images
are pictures with their intensities baked in, so they go to the model as they are. A file labels.csv with the columns
label and name may say what the class ids are.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError, IntensityError
from medsam.imaging.modality import Modality
from medsam.io.formats import read_image, read_mask

COLUMNS = ("image", "mask", "group", "mask_kind", "split")
PREFIXES = {
    "ct": Modality.CT, "mr": Modality.MR, "cxr": Modality.XRAY, "us": Modality.ULTRASOUND,
    "mammo": Modality.MAMMOGRAPHY, "oct": Modality.OCT, "endoscopy": Modality.ENDOSCOPY,
    "dermoscopy": Modality.DERMOSCOPY, "fundus": Modality.FUNDUS,
    "path": Modality.PATHOLOGY, "micro": Modality.MICROSCOPY,
}  # fmt: skip


@dataclass(frozen=True)
class IndexedPicture:
    """One row of index.csv.

    Args:
        dataset: Name of the folder.
        modality: By the first word of that name; "unknown" where it tells none.
        image: Path of the picture.
        mask: Path of its label map.
        group: Patient, scan or slide.
        mask_kind: "labels" or "instances".
        licence: Of the data.
        names: (class id, name) of the labels, where labels.csv tells them.
    """

    dataset: str
    modality: str
    image: Path
    mask: Path
    group: str
    mask_kind: str
    licence: str = "not stated"
    names: tuple[tuple[int, str], ...] = ()

    @property
    def sample(self) -> str:
        """The picture's name, as rows and predictions have it."""
        return self.image.name


def read_index(folder: str | Path, split: str | None) -> list[IndexedPicture]:
    """Read the index of a data set folder.

    Args:
        folder: Holds index.csv.
        split: Rows to take; None takes all.

    Raises:
        DataError: no index.csv, a column is missing, a kind of mask is unknown, or no row is in the split.
    """
    root = Path(folder)
    index = root / "index.csv"
    if not index.is_file():
        raise DataError(
            f"{root} has no index.csv", expected=f"columns {', '.join(COLUMNS)}", fix="see docs/evaluation.md"
        )
    with index.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{index} lacks the columns {', '.join(missing)}", expected=", ".join(COLUMNS), fix="add them"
            )
        listed = list(reader)
    rows = [row for row in listed if split is None or row["split"] == split]
    if not rows:
        splits = ", ".join(sorted({row["split"] or "''" for row in listed})) or "any row at all"
        raise DataError(f"{index} has no row of split {split!r}", expected=splits, fix="choose a split that it has")
    kinds = {row["mask_kind"] for row in rows} - {"labels", "instances"}
    if kinds:
        raise DataError(f"{index} has mask_kind {sorted(kinds)[0]!r}", expected="labels or instances", fix="correct it")
    modality = PREFIXES.get(root.name.split("_")[0])
    named = modality.value if modality else "unknown"
    names = _read_names(root / "labels.csv")
    return [
        IndexedPicture(
            root.name, named, root / row["image"], root / row["mask"], row["group"], row["mask_kind"],
            row.get("licence") or "not stated", names,
        )
        for row in rows
    ]  # fmt: skip


def _read_names(path: Path) -> tuple[tuple[int, str], ...]:
    if not path.is_file():
        return ()
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return tuple((int(row["label"]), row["name"]) for row in csv.DictReader(file))
    except (KeyError, TypeError, ValueError):
        raise DataError(
            f"{path} cannot be read", expected="columns label (a number) and name", fix="correct it"
        ) from None


def read_pair(row: IndexedPicture) -> tuple[NDArray[np.uint8], np.ndarray]:
    """Read a picture, (H, W, 3) uint8, and its label map, (H, W).

    Raises:
        DataError: the mask has another size than the image.
        IntensityError: the picture is not 8-bit.
        InputFileError: a file is missing or damaged.
    """
    image, labels = read_image(row.image), read_mask(row.mask).labels
    if image.values.dtype != np.uint8:
        raise IntensityError(
            f"{row.image} has {image.values.dtype} pixels", expected="an 8-bit picture", fix="normalize it first"
        )
    if labels.shape != image.grid.shape:
        raise DataError(
            f"{row.mask} is {labels.shape[1:]} and its image is {image.grid.shape[1:]} pixels",
            expected="the same size",
            fix="correct the pair or take it out of index.csv",
        )
    return image.slice_rgb(0), labels[0]
