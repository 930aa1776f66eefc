"""The road from slice to mask against a straight reading of the published LiteMedSAM pre- and post-processing."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch.nn import functional as F

from medsam.imaging.boxes import box_from_mask
from medsam.imaging.frame import Frame, resize

cv2 = pytest.importorskip("cv2")  # the published resize is OpenCV's: it is the oracle here and used nowhere else

FOLDERS = (
    "endoscopy_kvasir", "dermoscopy_isic2018", "cxr_jsrt", "cxr_shenzhen", "us_mixed", "oct_duke", "mammo_ddsm_fgt", "mammo_cesm",
    "path_monuseg", "path_lizard", "micro_dsb2018", "fundus_drishti", "ct_liver", "ct_mixed", "mr_acdc", "mr_la", "mr_mixed",
)  # fmt: skip


def published_image(picture: np.ndarray) -> np.ndarray:
    """Longest side 256 by INTER_AREA, min-max on the unpadded image, zeros to the right and below: (3, 256, 256)."""
    scale = 256 / max(picture.shape[:2])
    rows, columns = (int(side * scale + 0.5) for side in picture.shape[:2])
    small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    unit = (small - small.min()) / np.clip(small.max() - small.min(), a_min=1e-8, a_max=None)
    padded = np.zeros((256, 256, 3), np.float32)
    padded[:rows, :columns] = unit
    return padded.transpose(2, 0, 1)


def published_masks(lite, features: torch.Tensor, boxes: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Box * 256 / longest side; logits cropped at 256, bilinear to the slice, sigmoid, > 0.5."""
    scale = 256 / max(size_hw)
    rows, columns = (int(side * scale + 0.5) for side in size_hw)
    masks = []
    for box in boxes:
        with torch.no_grad():
            logits, _ = lite.runtime.model.decode(features, torch.tensor(box * scale).float()[None])
        full = F.interpolate(logits[..., :rows, :columns], size=size_hw, mode="bilinear", align_corners=False)
        masks.append((torch.sigmoid(full) > 0.5).squeeze().numpy())
    return np.stack(masks)


def pairs(folder: Path, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Image and boxes of a few pairs spread over a folder."""
    with (folder / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    taken = [rows[int(i)] for i in np.linspace(0, len(rows) - 1, count)]
    found = []
    for row in taken:
        picture = np.asarray(Picture.open(folder / "images" / Path(row["image"]).name).convert("RGB"))
        labels = np.asarray(Picture.open(folder / "masks" / Path(row["mask"]).name))
        boxes = [box_from_mask(labels == i) for i in np.unique(labels) if i]
        found.append((picture, np.array(boxes[:3])))
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_masks_equal_the_published_processing(lite, shared_data, folder):
    for picture, boxes in pairs(shared_data / "slices" / folder, 1):
        embedding = lite.embed(picture)
        masks, _ = lite.decode(embedding, boxes=boxes)
        image = published_image(picture)
        features = embedding.features
        if not np.array_equal(
            image, embedding.frame.image_to_model(picture)
        ):  # the network need not see the same twice
            with torch.no_grad():
                features = lite.runtime.model.encode(torch.from_numpy(image)[None])
        expected = published_masks(lite, features, boxes, picture.shape[:2])
        assert 2 * (masks & expected).sum() / (masks.sum() + expected.sum()) >= 0.999


@pytest.mark.parametrize("size_hw", [(512, 512), (500, 600), (768, 512), (200, 100), (1, 90), (256, 60), (1024, 1024)])
@pytest.mark.parametrize("channels", [1, 3])
def test_area_resize_equals_opencv_to_a_grey_level(size_hw, channels):
    picture = np.random.default_rng(0).integers(0, 256, (*size_hw, channels), dtype=np.uint8)
    rows, columns = Frame(*size_hw, 256, "pad").inner_hw
    expected = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA).reshape(rows, columns, channels)
    difference = np.abs(resize(picture, (rows, columns), "area").astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
