"""Weights saved and loaded: the same numbers come back, and what does not fit its manifest is refused in words."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_weights import SCRAP, random_model, same_weights

from medsam.errors import CheckpointError, MedsamError, OutputError
from medsam.models.networks.medsam import MedSAM
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.checkpoint import inspect_checkpoint, load_checkpoint, save_checkpoint
from medsam.models.weights.file import locate_sidecar
from medsam.models.weights.manifest import Manifest

MEDSAM = CATALOG["medsam-vit-b"].manifest
LITE = CATALOG["lite-medsam"].manifest

pytestmark = pytest.mark.usefixtures("no_large_leftovers")


@pytest.fixture(scope="module")
def flat(vit: MedSAM) -> dict[str, torch.Tensor]:
    return vit.state_dict()


def test_flat_file_of_the_release_needs_its_pre_processing_said(saved, flat, vit):
    path = saved(flat)
    found = inspect_checkpoint(path)
    assert (found.layout, found.architecture, found.tensors, found.manifest) == ("flat", "vit_b", 314, None)
    with pytest.raises(CheckpointError, match="--like medsam-vit-b"):
        load_checkpoint(path)
    model, manifest = load_checkpoint(path, replace(MEDSAM, name="mine", sha256=None))
    assert same_weights(model, vit)
    assert not model.training
    assert manifest.name == "mine"
    assert manifest.sha256 == found.sha256


def test_half_precision_weights_load_as_fp32(saved, lite):
    halves = {k: v.half() if v.is_floating_point() else v for k, v in lite.state_dict().items()}
    model, _ = load_checkpoint(saved(halves))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    expected = lite.mask_decoder.iou_token.weight.half().float()
    assert torch.equal(model.mask_decoder.iou_token.weight, expected)


def test_safetensors_carries_its_manifest_and_comes_back(tmp_path, vit):
    path = tmp_path / "mine.safetensors"
    written = save_checkpoint(vit, replace(MEDSAM, name="mine", licence="CC-BY-4.0"), path)
    model, manifest = load_checkpoint(path)
    assert same_weights(model, vit)
    assert manifest == written
    assert manifest.name == "mine"
    assert manifest.sha256 == inspect_checkpoint(path).sha256
    assert inspect_checkpoint(path).layout == "safetensors"


def test_half_files_are_half_the_size_and_come_back_as_fp32(tmp_path, lite):
    save_checkpoint(lite, LITE, tmp_path / "whole.safetensors")
    save_checkpoint(lite, LITE, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert 0.49 < sizes[0] / sizes[1] < 0.51
    back = load_checkpoint(tmp_path / "half.safetensors")[0].state_dict()
    for name, tensor in lite.state_dict().items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor.half().float() if tensor.is_floating_point() else tensor)


def test_weights_beyond_half_precision_are_refused(tmp_path):
    model = random_model("tiny_vit")
    with torch.no_grad():
        model.mask_decoder.iou_token.weight[0, 0] = 70_000
    with pytest.raises(OutputError, match=r"beyond float16 in mask_decoder\.iou_token\.weight"):
        save_checkpoint(model, LITE, tmp_path / "half.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_flat_file_keeps_its_manifest_beside_it(tmp_path, lite):
    path = tmp_path / "mine.pth"
    written = save_checkpoint(lite, replace(LITE, name="mine"), path, "flat")
    assert Manifest.from_json((tmp_path / "mine.pth.manifest.json").read_text()) == written
    assert load_checkpoint(path)[1] == written
    plain = torch.load(path, weights_only=True)
    assert list(plain) == list(lite.state_dict())


def test_foreign_safetensors_without_manifest_is_asked_about(tmp_path):
    from safetensors.torch import save_file

    save_file(SCRAP, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="different pre-processing"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_published_lite_medsam_is_known_under_any_name(shared_data, tmp_path):
    from medsam.models.weights.catalog import fetch

    copy = tmp_path / "renamed.bin"
    os.link(fetch("lite-medsam"), copy) if same_disk(tmp_path) else copy.write_bytes(fetch("lite-medsam").read_bytes())
    model, manifest = load_checkpoint(copy)
    assert manifest == LITE
    assert sum(p.numel() for p in model.parameters()) == 9_791_300


def same_disk(folder: Path) -> bool:
    return folder.stat().st_dev == Path.home().stat().st_dev


def test_sam_processor_file_is_left_out_where_it_would_lie(vit, tmp_path):
    save_checkpoint(vit, MEDSAM, tmp_path / "medsam", "hf")
    assert not (tmp_path / "medsam" / "preprocessor_config.json").exists()
    assert "squash" in (tmp_path / "medsam" / "README.md").read_text()
    assert "license: cc-by-4.0\n" in (tmp_path / "medsam" / "README.md").read_text()
    own = replace(MEDSAM, licence="research only: see the card")
    save_checkpoint(vit, own, tmp_path / "own", "hf", card='# Mine\n\n`{"sha256": "of another file"}`\n')
    head, body = (tmp_path / "own" / "README.md").read_text().split("---\n")[1:]
    assert 'license: other\nlicense_name: "research only: see the card"\n' in head
    assert body.startswith("\n# Mine\n\n## Input")
    assert "another file" not in body


def test_weights_that_are_not_finite_are_refused(saved, lite):
    state = {name: tensor.clone() for name, tensor in lite.state_dict().items()}
    state["mask_decoder.mask_tokens.weight"][0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="NaN"):
        load_checkpoint(saved(state))


def test_another_file_than_the_manifest_says_is_refused(saved, lite):
    with pytest.raises(CheckpointError, match="as the manifest of lite-medsam says"):
        load_checkpoint(saved(lite.state_dict()), LITE)


def test_manifest_of_another_architecture_is_refused(saved, lite):
    with pytest.raises(CheckpointError, match="holds a tiny_vit; expected a vit_b"):
        load_checkpoint(saved(lite.state_dict()), replace(MEDSAM, sha256=None))


def test_file_altered_after_its_manifest_was_written_is_refused(tmp_path, lite):
    path = tmp_path / "mine.pth"
    save_checkpoint(lite, LITE, path, "flat")
    torch.save(lite.state_dict() | {"mask_decoder.iou_token.weight": torch.zeros(1, 256)}, path)
    with pytest.raises(CheckpointError, match="has sha256"):
        load_checkpoint(path)


def test_write_that_fails_leaves_the_old_file_and_no_scraps(tmp_path, lite, monkeypatch):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"old")

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        save_checkpoint(lite, LITE, path, "flat")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "layout", "said"),
    [("w.pth", "safetensors", "suffix"), ("w.safetensors", "flat", "suffix"), ("folder", "hf", "ViT")],
)
def test_layouts_that_do_not_fit_are_refused(tmp_path, lite, name, layout, said):
    with pytest.raises(OutputError, match=said):
        save_checkpoint(lite, LITE, tmp_path / name, layout)
    assert not list(tmp_path.iterdir())


def test_folder_with_something_in_it_is_not_overwritten(tmp_path, vit):
    (tmp_path / "precious.txt").write_text("keep")
    with pytest.raises(OutputError, match="files in it"):
        save_checkpoint(vit, MEDSAM, tmp_path, "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_broken_manifest_beside_a_file_is_said(tmp_path, lite):
    path = tmp_path / "w.pth"
    torch.save(lite.state_dict(), path)
    for text in (b"{", b"\xff\xfe", b'{"name": "x"}', b'{"surplus": 1}'):
        locate_sidecar(path).write_bytes(text)
        with pytest.raises(MedsamError, match="manifest"):
            load_checkpoint(path)
