from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.baselines.nnunet import (
    RawDataset,
    find_nnunet_model,
    require_nnunet,
    run_command,
    write_case,
    write_dataset_json,
)
from medsam.errors import CheckpointError, DataError, MissingDependencyError


def write_squares(root: Path, *, grey: bool, cases: int = 1, size: int = 16) -> RawDataset:
    """A raw data set of squares, each with its tight box."""
    raw = RawDataset(root, 7, "squares")
    rng = np.random.default_rng(0)
    for case in range(cases):
        picture = rng.integers(0, 256, (size, size + 4, 3)).astype(np.uint8)
        picture = np.repeat(picture[..., :1], 3, axis=2) if grey else picture
        mask = np.zeros(picture.shape[:2], bool)
        mask[4 : size // 2, 5 : size // 2 + 4] = True
        box = np.array([5, 4, size // 2 + 3, size // 2 - 1])
        write_case(raw, f"case{case:06d}", picture, mask_HW=mask, box=box, grey=grey)
    write_dataset_json(raw, cases, grey=grey)
    return raw


@pytest.mark.parametrize(
    ("grey", "channels"), [(True, ["grey", "noNorm"]), (False, ["red", "green", "blue", "noNorm"])]
)
def test_a_case_has_its_box_as_the_last_channel(tmp_path: Path, grey: bool, channels: list[str]) -> None:
    raw = write_squares(tmp_path, grey=grey)
    assert raw.folder == tmp_path / "nnUNet_raw/Dataset007_squares"
    record = json.loads((raw.folder / "dataset.json").read_text())
    assert list(record["channel_names"].values()) == channels
    assert record["labels"] == {"background": 0, "target": 1} and record["numTraining"] == 1
    read = {path.name: np.asarray(Picture.open(path)) for path in raw.folder.rglob("*.png")}
    assert sorted(read) == sorted(["case000000.png", *(f"case000000_{k:04d}.png" for k in range(len(channels)))])
    assert read["case000000_0000.png"].shape == (16, 20)
    mask = np.zeros((16, 20), np.uint8)
    mask[4:8, 5:12] = 1
    np.testing.assert_array_equal(read[f"case000000_{len(channels) - 1:04d}.png"], mask)
    np.testing.assert_array_equal(read["case000000.png"], mask)


def test_a_number_or_name_that_nnunet_cannot_read_is_refused(tmp_path: Path) -> None:
    for number, name in ((0, "a"), (1000, "a"), (1, "a b")):
        with pytest.raises(DataError, match="number from 1 to 999"):
            RawDataset(tmp_path, number, name)


@pytest.mark.skipif(find_spec("nnunetv2") is not None, reason="nnU-Net is installed")
def test_without_nnunet_the_install_lines_are_told() -> None:
    with pytest.raises(MissingDependencyError, match="pip install --no-deps"):
        require_nnunet()


def test_a_model_is_found_below_its_root_and_two_are_too_many(tmp_path: Path) -> None:
    assert find_nnunet_model(tmp_path) is None and find_nnunet_model(tmp_path / "absent") is None
    one = tmp_path / "nnUNet_results/Dataset007_squares/nnUNetTrainer_1epoch__nnUNetPlans__2d"
    one.mkdir(parents=True)
    assert find_nnunet_model(tmp_path) == one == find_nnunet_model(one)
    shutil.copytree(one, one.with_name("nnUNetTrainer__nnUNetPlans__2d"))
    with pytest.raises(CheckpointError, match="2 models"):
        find_nnunet_model(tmp_path)


@pytest.mark.integration
@pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnU-Net is not installed")
def test_nnunet_finds_the_data_set_whole_and_plans_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_squares(tmp_path, grey=False, cases=4, size=32)
    run_command(tmp_path, "plan_and_preprocess", ("-d", "7", "-c", "2d", "-np", "1", "--verify_dataset_integrity"))
    assert "verify_dataset_integrity Done" in capfd.readouterr().err
    plans = json.loads((tmp_path / "nnUNet_preprocessed/Dataset007_squares/nnUNetPlans.json").read_text())
    schemes = plans["configurations"]["2d"]["normalization_schemes"]
    assert schemes == ["ZScoreNormalization"] * 3 + ["NoNormalization"]
