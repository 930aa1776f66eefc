"""The index of a data set with expert masks, and the pictures and label maps it names.

A folder holds index.csv with the columns image and mask and, where they are known, group, mask_kind, split, modality,
window and licence; a list is such a CSV file alone; a plain folder has images/ and masks/ with files of the same names.
mask_kind "labels" means class ids, whose connected components are the targets; "instances" means one id per target. 8-bit
pictures have their intensities baked in, so they go to the model as they are. A file labels.csv with the columns label
and name may say what the class ids are.
"""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medsam.errors import DataError, IntensityError
from medsam.imaging.image import Image
from medsam.imaging.modality import Modality, parse_modality
from medsam.io.formats import read_image, read_mask
from medsam.io.guard import guarded
from medsam.io.pairs import pair_files
from medsam.io.suffixes import find_format

COLUMNS = ("image", "mask", "group", "mask_kind", "split")
NEEDED = COLUMNS[:2]
UNKNOWN = "unknown"  # the modality where nothing tells it
VOLUMES = ("nifti", "nrrd", "metaimage", "npz", "dicom")  # formats whose files are measured slice by slice and whole
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
        dataset: Name of the folder or list.
        modality: By its column, or by the first word of that name; "unknown" where neither tells it.
        image: Path of the picture or volume.
        mask: Path of its label map.
        group: Patient, scan or slide.
        mask_kind: "labels" or "instances".
        licence: Of the data.
        names: (class id, name) of the labels, where labels.csv tells them.
        window: Of a CT volume.
    """

    dataset: str
    modality: str
    image: Path
    mask: Path
    group: str
    mask_kind: str
    licence: str = "not stated"
    names: tuple[tuple[int, str], ...] = ()
    window: str = ""

    @property
    def sample(self) -> str:
        """The picture's name, as rows and predictions have it."""
        return self.image.name

    @property
    def is_volume(self) -> bool:
        """Whether it is of a format of volumes, by its name; a folder is a DICOM series."""
        found = find_format(self.image, "read_image")
        return self.image.is_dir() or (found is not None and found.name in VOLUMES)


def read_index(place: str | Path, split: str | None) -> list[IndexedPicture]:
    """Read what a data set has.

    Args:
        place: A folder with index.csv, a list (a CSV file of the same columns), or a folder with images/ and masks/.
        split: Rows to take; None takes all, and so does a data set that knows no splits.

    Raises:
        DataError: it is none of them, a column is missing, a kind of mask is unknown, no row is in the split, or two
            rows have one name.
        IntensityError: a modality is unknown.
    """
    root = Path(place)
    index = root if root.suffix.lower() == ".csv" else root / "index.csv"
    if not index.is_file():
        return _refuse_doubles(_pair_folders(root), root)
    listed = _read_lines(index)
    rows = [row for row in listed if split is None or (row.get("split") or split) == split]
    if not rows:
        splits = ", ".join(sorted({row["split"] or "''" for row in listed})) or "any row at all"
        raise DataError(f"{index} has no row of split {split!r}", expected=splits, fix="choose a split that it has")
    kinds = {row.get("mask_kind") or "labels" for row in rows} - {"labels", "instances"}
    if kinds:
        raise DataError(f"{index} has mask_kind {sorted(kinds)[0]!r}", expected="labels or instances", fix="correct it")
    dataset = root.stem if index == root else root.name
    names = _read_names(index.parent / "labels.csv")
    made = [
        IndexedPicture(
            dataset, parse_modality(row["modality"]).value if row.get("modality") else _tell_modality(dataset),
            index.parent / row["image"], index.parent / row["mask"], row.get("group") or "",
            row.get("mask_kind") or "labels", row.get("licence") or "not stated", names, row.get("window") or "",
        )
        for row in rows
    ]  # fmt: skip
    return _refuse_doubles(made, index)


def _pair_folders(root: Path) -> list[IndexedPicture]:
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise DataError(
            f"{root} has no index.csv", expected="index.csv, or images/ and masks/ with files of the same names",
            fix="see docs/evaluation.md",
        )  # fmt: skip
    kind, names = _tell_modality(root.name), _read_names(root / "labels.csv")
    pairs = pair_files(root / "images", root / "masks")
    if not pairs:
        raise DataError(f"{root}/images is empty", expected="images that can be read", fix="add some")
    return [IndexedPicture(root.name, kind, image, mask, "", "labels", names=names) for _, image, mask in pairs]


def _tell_modality(dataset: str) -> str:
    modality = PREFIXES.get(dataset.split("_", maxsplit=1)[0])
    return modality.value if modality else UNKNOWN


def _read_lines(index: Path) -> list[dict[str, str]]:
    with guarded(index, "a CSV file of pairs"), index.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [c for c in NEEDED if c not in (reader.fieldnames or ())]
        if missing:
            raise DataError(
                f"{index} lacks the columns {', '.join(missing)}", expected=", ".join(COLUMNS), fix="add them"
            )
        rows = list(reader)
    if any(not row[column] for row in rows for column in NEEDED):
        raise DataError(f"{index} has a row without image or mask", expected="both in every row", fix="correct it")
    return rows


def _refuse_doubles(rows: list[IndexedPicture], place: Path) -> list[IndexedPicture]:
    counts = Counter(row.sample for row in rows)
    double = next((name for name, count in counts.items() if count > 1), None)
    if double is not None:
        raise DataError(
            f"{place} has {counts[double]} images named {double}", expected="each name once, for rows and masks are kept by it",
            fix="rename the files, or make a data set of each folder",
        )  # fmt: skip
    return rows


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
        MedsamError: as read_picture.
    """
    image, labels_HW = read_picture(row)
    return image.slice_rgb(0), labels_HW


def read_picture(row: IndexedPicture) -> tuple[Image, np.ndarray]:
    """Read a picture as an image of one slice with its spacing, where that is known, and its label map, (H, W).

    Raises:
        DataError: the mask has another size than the image, or there are several slices.
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
    if len(labels) > 1:
        raise DataError(
            f"{row.image} has {len(labels)} slices",
            expected="one picture",
            fix="write it as .nii.gz or .nrrd, a volume",
        )
    return image, labels[0]
