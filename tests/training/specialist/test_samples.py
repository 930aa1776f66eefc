from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.baselines.box_channel import BoxChannelInput
from medsam.errors import DataError
from medsam.training.samples.recipe_data import open_data
from medsam.training.specialist.config import SpecialistConfig
from medsam.training.specialist.samples import BoxBatches, SelectedSource, measure_median_shape, open_samples


def write_data(folder: Path) -> Path:
    """Two pictures with a square of class 1 and one of class 2."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    lines = ["image,mask,group,mask_kind,split"]
    for number, size in enumerate((40, 60)):
        labels = np.zeros((size, 50), np.uint8)
        labels[4:16, 5:17] = 1
        labels[22:34, 25:37] = 2
        Picture.fromarray(labels).save(folder / f"masks/{number}.png")
        Picture.fromarray(np.repeat(labels[..., None] * 100, 3, axis=2)).save(folder / f"images/{number}.png")
        lines.append(f"images/{number}.png,masks/{number}.png,{number},labels,train")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_modality_data_set_and_target_choose_the_samples(tmp_path: Path) -> None:
    folders = [str(write_data(tmp_path / name)) for name in ("us_a", "ct_b")]
    source = open_data(folders, "train", by_picture=False)
    assert len(source) == 4
    assert {SelectedSource(source, "US", "").unit(i).dataset for i in range(2)} == {"us_a"}
    assert len(SelectedSource(source, "", "ct_b")) == 2
    with pytest.raises(DataError, match="no sample of ultrasound ct_b"):
        SelectedSource(source, "US", "ct_b")
    chosen = open_samples(SpecialistConfig("unet", tuple(folders), dataset="us_a", target="2"))
    [mask] = chosen.read(0).masks
    assert mask[22:34, 25:37].all() and mask.sum() == 144
    with pytest.raises(DataError, match="its class id"):
        open_samples(SpecialistConfig("unet", tuple(folders), target="liver"))
    assert chosen.identity() != SelectedSource(source, "", "us_a").identity()


def test_the_median_shape_is_of_all_pictures(tmp_path: Path) -> None:
    assert measure_median_shape(open_data([str(write_data(tmp_path / "us_a"))], "train", by_picture=False)) == (50, 50)


def test_batches_depend_on_the_step_alone(tmp_path: Path) -> None:
    config = SpecialistConfig("unet", (str(write_data(tmp_path / "us_a")),), box_noise_px=0)
    batches = BoxBatches(open_samples(config), config, BoxChannelInput((20, 25), "bicubic", "z-score"), 3)
    whole, rest = list(batches.load(range(4))), list(batches.load(range(2, 4)))
    assert len(whole) == 4 and not list(batches.load(range(0)))
    for (inputs, masks), (again, same) in zip(whole[2:], rest, strict=True):
        assert inputs.shape == (3, 4, 20, 25) and masks.shape == (3, 1, 20, 25)
        assert inputs.equal(again) and masks.equal(same)
    inputs, masks = whole[0]
    assert ((masks[:, 0] > 0) <= (inputs[:, 3] > 0)).all()  # a tight box holds its mask
