"""A store in the layouts of other training code: MedSAM npy, CVPR npz, nnU-Net raw, webdataset."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from medsam.data.store.reading import Place, Store
from medsam.data.store.tables import hash_name
from medsam.errors import DataError, OutputError
from medsam.files.atomic import replacing
from medsam.imaging.frame import Frame
from medsam.io.text import format_rows

Layout = Literal["medsam-npy", "cvpr-npz", "nnunet", "webdataset"]
INDEXED = ("dataset", "modality", "licence", "target", "mask_value", "sample_id")  # nnU-Net: classes for mask_value
PER_TAR = 1000
MEDSAM_SIDE = 1024


@dataclass(frozen=True)
class Member:
    """One image of the store with all its pairs that do not overlap: what most layouts call a sample.

    Its name is GROUP-NUMBER: what shares a group shares the first part, by which an import keeps it together.
    """

    name: str
    split: str
    pixels_HWC: NDArray[np.uint8]
    labels_HW: NDArray[np.uint16]
    rows: list[dict[str, object]]


def export(store: Store, folder: Path, to: Layout, *, split: str | None = None) -> int:
    """Write a store, or one split, in another layout, and index.csv: what each image is and which pairs it holds.

    Args:
        store: What to write.
        folder: New or empty.
        to: The layout.
        split: Only this split.

    Returns:
        How many images were written; overlapping targets of an image make further ones.

    Raises:
        OutputError: the folder is not empty, or the disk refused.
        DataError: an unknown layout, or nothing to write.
    """
    if to not in _WRITERS:
        raise DataError(f"the layout is {to!r}", expected=f"one of {', '.join(_WRITERS)}", fix="choose one of them")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty", expected="a new or empty folder", fix="choose another")
    rows = store.rows(split=split) if split else np.arange(len(store))
    if not len(rows):
        raise DataError(f"no pair of split {split}", expected="at least one", fix="see medsam store info")
    lines: list[tuple[object, ...]] = []
    count = _WRITERS[to](_noted(_members(store, rows), lines), folder)
    _save_index(folder, lines)
    return count


def _noted(members: Iterator[Member], lines: list[tuple[object, ...]]) -> Iterator[Member]:
    for member in members:
        lines += [(member.name, member.split, *(row[name] for name in INDEXED)) for row in member.rows]
        yield member


def _save_index(folder: Path, lines: list[tuple[object, ...]]) -> None:
    _save(folder / "index.csv", format_rows([("name", "split", *INDEXED), *lines]).encode())


def _members(store: Store, rows: NDArray[np.int64]) -> Iterator[Member]:
    """Images in the catalogue's order, one per mask layer."""
    by_layer: dict[tuple[object, ...], list[tuple[Place, dict[str, object]]]] = {}
    for number in rows:
        place = store.place(int(number))
        key = (place.shard, place.image_array, place.image_index, place.mask_array, place.mask_index)
        by_layer.setdefault(key, []).append((place, {"number": int(number)}))
    for count, entries in enumerate(by_layer.values()):
        place = entries[0][0]
        number = int(str(entries[0][1]["number"]))
        facts = [store.catalogue.slice(int(str(e[1]["number"])), 1).to_pylist()[0] for e in entries]
        layer = store.layer(place)
        labels = np.where(np.isin(layer, [p.mask_value for p, _ in entries]), layer, 0).astype(np.uint16)
        rgb = store.slice_rgb(number)
        pixels = rgb if store.picture(place).shape[2] == 3 else rgb[..., :1]
        shown = [{k: v for k, v in fact.items() if k not in ("perceptual_hash", "suspect_text")} for fact in facts]
        name = f"{hash_name('group', str(facts[0]['group']), length=16)}-{count:07d}"
        yield Member(name, str(facts[0]["split"]), pixels, labels, shown)


def _medsam_npy(members: Iterator[Member], folder: Path) -> int:
    """imgs/NAME.npy (1024, 1024, 3) float64 in [0, 1] and gts/NAME.npy (1024, 1024) uint8, as the released loader takes."""
    count = 0
    for member in members:
        count += 1
        height, width = member.labels_HW.shape
        frame = Frame(height, width, MEDSAM_SIDE)
        rgb = np.ascontiguousarray(np.broadcast_to(member.pixels_HWC, (height, width, 3)))
        image = frame.image_to_model(rgb).transpose(1, 2, 0).astype(np.float64)
        _save(folder / "imgs" / f"{member.name}.npy", _npy(image))
        labels = frame.mask_to_model(_small(member.labels_HW))
        _save(folder / "gts" / f"{member.name}.npy", _npy(labels))
    return count


def _cvpr_npz(members: Iterator[Member], folder: Path) -> int:
    """NAME.npz with imgs (H, W, 3), gts, boxes (x0 y0 x1 y1 per label) and spacing (x y z) where known.

    Grey images become three equal channels: the released inference of LiteMedSAM takes no other flat image.
    """
    count = 0
    for member in members:
        count += 1
        image = np.ascontiguousarray(np.broadcast_to(member.pixels_HWC, (*member.labels_HW.shape, 3)))
        boxes = np.array([[row[side] for side in ("x0", "y0", "x1", "y1")] for row in member.rows], dtype=np.float64)
        content = {"imgs": image, "gts": member.labels_HW, "boxes": boxes}
        if member.rows[0]["spacing_x_mm"] is not None:
            content["spacing"] = np.array([member.rows[0][f"spacing_{a}_mm"] for a in "xyz"], dtype=np.float64)
        out = io.BytesIO()
        np.savez_compressed(out, **content)  # type: ignore[arg-type]
        _save(folder / f"{member.name}.npz", out.getvalue())
    return count


def _nnunet(members: Iterator[Member], folder: Path) -> int:
    """nnU-Net raw: imagesTr, labelsTr as PNG and dataset.json with the targets as classes, for train and tune; val as imagesTs.

    Images of three channels and of one cannot share a data set; grey ones become three equal channels where both occur.
    """
    kept = list(members)
    targets = sorted({str(row["target"]) for member in kept for row in member.rows})
    channels = max(member.pixels_HWC.shape[2] for member in kept)
    training = 0
    for member in kept:
        part = "Ts" if member.split in ("val", "external") else "Tr"
        training += part == "Tr"
        classes = np.zeros(member.labels_HW.shape, dtype=np.uint8)
        for row in member.rows:
            classes[member.labels_HW == row["mask_value"]] = targets.index(str(row["target"])) + 1
        image = np.broadcast_to(member.pixels_HWC, (*member.labels_HW.shape, channels))
        _picture(folder / f"images{part}" / f"{member.name}_0000.png", image if channels == 3 else image[..., 0])
        _picture(folder / f"labels{part}" / f"{member.name}.png", classes)
    description = {
        "channel_names": {str(c): name for c, name in enumerate("RGB" if channels == 3 else ["grey"])},
        "labels": {"background": 0, **{name: number for number, name in enumerate(targets, start=1)}},
        "numTraining": training,
        "file_ending": ".png",
        "overwrite_image_reader_writer": "NaturalImage2DIO",
    }
    text = json.dumps(description, indent=1, ensure_ascii=False) + "\n"
    _save(folder / "dataset.json", text.encode())
    return len(kept)


def _webdataset(members: Iterator[Member], folder: Path) -> int:
    """SPLIT-000000.tar, ... of NAME.image.png, NAME.mask.png and NAME.json; the same store always makes the same bytes."""
    waiting: dict[str, list[Member]] = {}
    tars: dict[str, int] = {}
    count = 0
    for member in members:
        count += 1
        waiting.setdefault(member.split, []).append(member)
        if len(waiting[member.split]) == PER_TAR:
            _tar(folder, member.split, tars, waiting.pop(member.split))
    for split, rest in waiting.items():
        _tar(folder, split, tars, rest)
    return count


def _tar(folder: Path, split: str, tars: dict[str, int], members: list[Member]) -> None:
    path = folder / f"{split}-{tars.setdefault(split, 0):06d}.tar"
    tars[split] += 1
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            image = member.pixels_HWC if member.pixels_HWC.shape[2] == 3 else member.pixels_HWC[..., 0]
            facts = json.dumps({"split": member.split, "objects": member.rows}, sort_keys=True, ensure_ascii=False)
            for suffix, content in (
                ("image.png", _png(image)),
                ("mask.png", _png(member.labels_HW)),
                ("json", facts.encode()),
            ):
                entry = tarfile.TarInfo(f"{member.name}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _png(values: np.ndarray) -> bytes:
    small = _small(values) if values.dtype == np.uint16 and values.max() < 256 else values
    out = io.BytesIO()
    Picture.fromarray(np.ascontiguousarray(small)).save(out, "PNG")
    return out.getvalue()


def _picture(path: Path, values: np.ndarray) -> None:
    _save(path, _png(values))


def _small(labels_HW: np.ndarray) -> NDArray[np.uint8]:
    """Labels as uint8.

    Raises:
        OutputError: more than 255 objects on one image.
    """
    if labels_HW.max() > 255:
        raise OutputError(
            f"an image with {int(labels_HW.max())} objects",
            expected="at most 255 in this layout",
            fix="export it as webdataset or cvpr-npz",
        )
    return labels_HW.astype(np.uint8)


def _npy(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def _save(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


_WRITERS: dict[str, Callable[[Iterator[Member], Path], int]] = {
    "medsam-npy": _medsam_npy,
    "cvpr-npz": _cvpr_npz,
    "nnunet": _nnunet,
    "webdataset": _webdataset,
}
