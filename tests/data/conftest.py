"""Small data sets on disk, made from a few numbers, and stores made of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from medsam.data.cards.card import parse_card
from medsam.data.store.curate import CuratedSource, curate
from medsam.data.store.reading import Store
from medsam.data.store.tables import read_table


class Tree:
    """A folder that fills with images and masks whose content is known."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, content: str | bytes) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target

    def raster(self, path: str, values: np.ndarray) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(values).save(target)
        return target

    def nifti(
        self,
        path: str,
        values_DHW: np.ndarray,
        spacing_mm: tuple[float, float, float] = (2.5, 0.8, 0.8),
        shift_mm: float = 0.0,
    ) -> Path:
        """Axial slices, patient axes; spacing is (z, y, x)."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([*spacing_mm[::-1], 1.0])
        affine[0, 3] = shift_mm
        nibabel.save(nibabel.Nifti1Image(values_DHW.T, affine), target)
        return target


def picture(seed: int, height: int = 64, width: int = 80, channels: int = 0) -> np.ndarray:
    """A smooth random picture, uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 9, max(channels, 1)), dtype=np.uint8)
    planes = [
        np.asarray(Picture.fromarray(coarse[..., c]).resize((width, height), Picture.Resampling.BICUBIC))
        for c in range(coarse.shape[2])
    ]
    return np.stack(planes, axis=-1) if channels else planes[0]


def disc(
    height: int = 64, width: int = 80, *, centre: tuple[int, int] = (32, 40), radius: int = 12, value: int = 1
) -> np.ndarray:
    """A disc of one value, uint8."""
    y, x = np.ogrid[:height, :width]
    return (((y - centre[0]) ** 2 + (x - centre[1]) ** 2) <= radius**2).astype(np.uint8) * np.uint8(value)


def volume(seed: int, depth: int = 12) -> np.ndarray:
    """A CT-like volume in HU, int16."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            picture(seed * 100 + z).astype(np.int16) * 4 - 500 + rng.integers(-5, 5, (64, 80), dtype=np.int16)
            for z in range(depth)
        ]
    )


def ball(depth: int = 12, value: int = 1) -> np.ndarray:
    """A cylinder with 441 pixels a slice over the middle slices, uint8."""
    labels = np.zeros((depth, 64, 80), dtype=np.uint8)
    labels[2:-2] = disc(value=value)
    return labels


def reasons(store: Path) -> dict[str, str]:
    """Why each case of a store was left out."""
    return {row["case"]: row["reason"] for row in read_table(store / "excluded.parquet").to_pylist()}


def digest(folder: Path) -> str:
    """Of every file below a folder: names and bytes."""
    out = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        out.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return out.hexdigest()


CARD_2D = """
name = "{name}"
version = "1"
licence = "CC BY 4.0"
citation = "nobody"
modality = "dermoscopy"
dimension = 2
published = true
[images]
path = "images/{{image}}.png"
group = "{{image:.{{4}}}}"
[masks]
path = "masks/{{image}}.png"
[targets]
lesion = 1
"""
CARD_3D = """
name = "{name}"
version = "1"
licence = "CC BY-SA 4.0"
citation = "nobody"
modality = "CT"
dimension = 3
published = true
window = "soft-tissue"
[images]
path = "imagesTr/{{case}}.nii.gz"
group = "{{case}}"
group_kind = "patient"
[masks]
path = "labelsTr/{{case}}.nii.gz"
[targets]
organ = 1
lesion = 2
"""


class Making:
    """Everything a test of curation needs, under one fixture."""

    picture = staticmethod(picture)
    disc = staticmethod(disc)
    volume = staticmethod(volume)
    ball = staticmethod(ball)
    digest = staticmethod(digest)
    reasons = staticmethod(reasons)
    card_2d = staticmethod(
        lambda name="skin", more="": (
            CARD_2D.format(name=name).replace('group = "{image:.{4}}"', 'group = "{image}"') + more
        )
    )
    card_3d = staticmethod(lambda name="scans", more="": CARD_3D.format(name=name) + more)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tree(self, name: str = "raw") -> Tree:
        return Tree(self.folder / name)

    def skin(self, count: int = 6, name: str = "skin") -> Tree:
        """count pictures of 64 x 80 with one disc each."""
        tree = self.tree(name)
        for i in range(count):
            tree.raster(f"images/p{i:03d}.png", picture(i, channels=3))
            tree.raster(f"masks/p{i:03d}.png", disc(radius=8 + i % 5))
        return tree

    def scans(self, count: int = 2, name: str = "scans") -> Tree:
        """count CT volumes of 12 slices with a cylinder on 8 of them."""
        tree = self.tree(name)
        for i in range(count):
            tree.nifti(f"imagesTr/c{i:02d}.nii.gz", volume(i))
            tree.nifti(f"labelsTr/c{i:02d}.nii.gz", ball())
        return tree


@pytest.fixture
def making(tmp_path: Path) -> Making:
    return Making(tmp_path)


@pytest.fixture
def mixed_store(making: Making, tmp_path: Path) -> Store:
    """Six pictures with one disc each and eight slices of a CT."""
    skin, scans = making.skin(6), making.scans(1)
    sources = [
        CuratedSource(parse_card(making.card_2d(), "t"), skin.root),
        CuratedSource(parse_card(making.card_3d(), "t"), scans.root),
    ]
    curate(sources, tmp_path / "s")
    return Store(tmp_path / "s")


@pytest.fixture
def nested_store(making: Making, tmp_path: Path) -> Store:
    """Three pictures; the second has two discs, one inside the other."""
    tree = making.skin(3)
    tree.raster("masks/p001.png", making.disc(radius=20) + making.disc(radius=10))
    card = making.card_2d().replace("lesion = 1", "disc = [1, 2]\ncup = 2")
    curate([CuratedSource(parse_card(card, "t"), tree.root)], tmp_path / "s")
    return Store(tmp_path / "s")
