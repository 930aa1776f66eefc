"""nnU-Net itself, from a raw data set of ours to its answers: prepared, planned, trained for four steps, asked for boxes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medsam.cli.app import run

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(find_spec("nnunetv2") is None, reason="nnU-Net is not installed; run make integration"),
]


def test_nnunet_is_trained_on_our_export_and_answers_boxes(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")  # four steps need no more helpers
    folder = tmp_path / "us_discs"
    (folder / "images").mkdir(parents=True)
    y, x = np.mgrid[:40, :48]
    lines = ["image,mask,group,mask_kind,split"]
    for k in range(6):
        disc = (x - 16 - 2 * k) ** 2 + (y - 20) ** 2 <= 8**2
        Picture.fromarray((50 + 150 * disc + k).astype(np.uint8)).save(folder / f"images/{k}.png")
        Picture.fromarray(disc.astype(np.uint8)).save(folder / f"images/m{k}.png")
        lines.append(f"images/{k}.png,images/m{k}.png,p{k},labels,{'val' if k == 5 else 'train'}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    root = tmp_path / "nnunet/ultrasound"
    assert run(["baseline", "prepare", "unet", str(folder), "--name", "discs", "-o", str(root)]) == 0
    short = ["--epochs", "1", "--steps-per-epoch", "4", "--device", "cpu"]
    train = ["baseline", "train", "unet", "--engine", "nnunet", "--name", "discs", "-o", str(root), *short]
    assert run(train) == 0, capfd.readouterr().err
    said = capfd.readouterr()
    assert "verify_dataset_integrity Done" in said.err
    (model,) = root.glob("nnUNet_results/Dataset101_discs/nnUNetTrainer__nnUNetPlans__2d")
    assert (model / "fold_all/checkpoint_final.pth").is_file()
    for models in (f"nn=specialists:{root.parent}", f"nn={root}"):
        out = tmp_path / models.partition("=")[2].replace("/", "_")
        assert run(["evaluate", str(folder), "--models", models, "-o", str(out)]) == 0, capfd.readouterr().err
        rows = (out / "rows.csv").read_text().splitlines()
        assert len(rows) == 2
        table = json.loads((out / "summary.json").read_text())["datasets"][0]
        assert (table["failed"], table["method"]) == (0, "nn")
        assert 0 <= table["dice"][1] <= 1
