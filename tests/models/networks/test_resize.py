"""Another frame size: the same weights on another grid, through files, runtimes and a training run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from tiny import draw_discs, source

from medsam.errors import CheckpointError, ModelUnavailableError, OutputError
from medsam.inference.predictor import Predictor, load_predictor
from medsam.inference.prompts import make_mask_logits
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.medsam import MedSAM, build
from medsam.models.networks.resize import resize_model
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.checkpoint import load_checkpoint, save_checkpoint
from medsam.training.config import TrainConfig
from medsam.training.learner.base_model import load_base, new_manifest
from medsam.training.run.folder import MODEL
from medsam.training.run.loop import fit

LITE = replace(CATALOG["lite-medsam"].manifest, name="lite", sha256=None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lite() -> MedSAM:
    torch.manual_seed(3)
    return build("tiny_vit")


@pytest.fixture(scope="module")
def vit() -> MedSAM:
    model = build("vit_b", initialise=False)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.normal_(0, 0.02)
        assert isinstance(model.image_encoder, ImageEncoder)
        row = torch.arange(64.0)
        model.image_encoder.pos_embed[0, :, :, 0] = 5.0
        model.image_encoder.pos_embed[0, :, :, 1] = row[:, None]
        model.image_encoder.blocks[2].attn.rel_pos_h[:, 0] = torch.arange(-63.0, 64.0)
    return model


@torch.no_grad()
def test_position_tables_by_hand(vit: MedSAM) -> None:
    small = resize_model(vit, "vit_b", 512)
    encoder, before = small.image_encoder, vit.image_encoder
    assert isinstance(encoder, ImageEncoder)
    assert isinstance(before, ImageEncoder)
    assert (small.frame_size, small.prompt_encoder.grid, tuple(encoder.pos_embed.shape)) == (512, 32, (1, 32, 32, 768))
    assert torch.allclose(encoder.pos_embed[..., 0], torch.tensor(5.0))
    # row i of 32 lies between rows 2i and 2i + 1 of 64
    assert torch.allclose(encoder.pos_embed[0, 2:-2, 7, 1], torch.arange(2.0, 30) * 2 + 0.5, atol=1e-4)
    # 127 offsets become 63: the middle is offset 0, the ends lie half a step of 127 / 63 inside
    offsets = encoder.blocks[2].attn.rel_pos_h[:, 0]
    assert len(offsets) == 63
    assert offsets[31].item() == pytest.approx(0, abs=1e-4)
    assert offsets[32].item() == pytest.approx(127 / 63, abs=1e-4)
    assert torch.equal(encoder.blocks[0].attn.rel_pos_h, before.blocks[0].attn.rel_pos_h)  # of a window
    assert torch.equal(encoder.patch_embed.proj.weight, before.patch_embed.proj.weight)


def test_a_vit_of_another_size_is_saved_loaded_and_served(vit: MedSAM, tmp_path: Path) -> None:
    small = resize_model(vit, "vit_b", 256)
    manifest = replace(CATALOG["medsam-vit-b"].manifest, name="small", frame_size=256, sha256=None)
    save_checkpoint(small, manifest, tmp_path / "small.safetensors")
    loaded, told = load_checkpoint(tmp_path / "small.safetensors")
    assert told.frame_size == loaded.frame_size == 256
    predictor = Predictor(TorchRuntime(loaded, device=torch.device("cpu")), told, weights="small")
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    embedding = predictor.embed(picture)
    image = torch.from_numpy(predictor.make_frame(90, 70).image_to_model(picture)[None])
    with torch.no_grad():
        assert torch.allclose(small.encode(image), embedding.features, atol=1e-3)
    masks, _ = predictor.decode(embedding, boxes=[(5, 5, 40, 40)])
    again, _ = predictor.decode(embedding, boxes=[(5, 5, 40, 40)], mask=masks[0])
    assert masks.shape == again.shape == (1, 90, 70)
    with pytest.raises(OutputError, match="256 pixels"):
        save_checkpoint(small, manifest, tmp_path / "hub", "hf")
    save_checkpoint(small, replace(manifest, frame_size=512), tmp_path / "lies.safetensors")
    with pytest.raises(CheckpointError, match=r"pos_embed \(1, 16, 16, 768\) for \(1, 32, 32, 768\)"):
        load_checkpoint(tmp_path / "lies.safetensors")


@torch.no_grad()
def test_the_same_size_gives_the_same_numbers(lite: MedSAM) -> None:
    image = torch.rand(1, 3, 256, 256)
    assert torch.equal(resize_model(lite, "tiny_vit", 256).encode(image), lite.encode(image))


@pytest.mark.parametrize("size", [0, 8, 500])
def test_a_frame_of_no_whole_patches_is_refused(size: int) -> None:
    with pytest.raises(CheckpointError, match=f"a frame of {size} pixels"):
        build("vit_b", frame_size=size)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_files_of_another_size_serve_on_every_runtime(
    lite: MedSAM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Literal["torch", "openvino"]
) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    monkeypatch.setenv("MEDSAM_CACHE", str(tmp_path / "cache"))
    small, manifest = resize_model(lite, "tiny_vit", 64), replace(LITE, frame_size=64)
    save_checkpoint(small, manifest, tmp_path / "small.safetensors")
    predictor = load_predictor(tmp_path / "small.safetensors", device="cpu", runtime=runtime)
    picture = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    embedding = predictor.embed(picture)
    with torch.no_grad():
        plain = small.encode(torch.from_numpy(predictor.make_frame(48, 64).image_to_model(picture)[None]))
        assert torch.allclose(plain, embedding.features, atol=1e-3)
        box = torch.tensor([[10.0, 10, 50, 40]])
        before = np.zeros((48, 64), bool)
        before[10:40, 10:50] = True
        hint = make_mask_logits(torch.from_numpy(predictor.make_frame(48, 64).mask_to_model(before))[None], 64)
        wanted = small.decode(plain, box, masks_N1HW=hint)[0][0, 0, :48]
    (found,) = predictor.decode_parts(embedding, boxes=box.numpy(), mask=before)
    assert torch.allclose(found.logits_NHW[0], wanted, atol=1e-3)


def test_a_run_in_another_frame_leaves_a_model_of_that_size(lite: MedSAM, tmp_path: Path) -> None:
    save_checkpoint(resize_model(lite, "tiny_vit", 64), replace(LITE, frame_size=64), tmp_path / "base.safetensors")
    discs = draw_discs(tmp_path / "discs")
    config = TrainConfig(
        data=("discs",), base=str(tmp_path / "base.safetensors"), like="", frame_size=256, encoder="frozen", steps=1,
        global_batch=1, workers=0, learning_rate=1e-3, precision="fp32", corrections=1,
    )  # fmt: skip
    model, base = load_base(config)
    manifest = new_manifest(base, config)
    assert model.frame_size == manifest.frame_size == 256
    fit(config, tmp_path / "run", model, manifest, source(discs, "train"), tune=None)
    trained, told = load_checkpoint(tmp_path / "run" / MODEL)
    assert (trained.frame_size, told.frame_size, told.prompts) == (256, 256, ("box", "point", "mask"))
    assert load_base(replace(config, frame_size=0))[0].frame_size == 64
    with pytest.raises(ModelUnavailableError, match="frame of 1024 pixels"):
        new_manifest(base, replace(config, like="medsam-vit-b", frame_size=0))
    assert new_manifest(base, replace(config, like="medsam-vit-b")).frame_size == 256
