"""Distillation: a student learns its teacher's features, keeps its decoder, and goes on exactly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import CONFIG, MANIFEST, source, tiny_model

from medsam.errors import DataError
from medsam.inference.predictor import Predictor, load_predictor
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM, build
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.models.networks.tiny_vit import TinyViT
from medsam.models.weights.catalog import CATALOG
from medsam.models.weights.checkpoint import load_checkpoint, save_checkpoint
from medsam.training.learner.base_model import new_manifest
from medsam.training.learner.distillation import (
    Distillation,
    calibrate_batch_norms,
    copy_decoder,
    new_student,
    resize_features,
)
from medsam.training.run import sealed
from medsam.training.run.loop import fit
from medsam.training.run.monitor import read_metrics
from medsam.training.run.state import RunOutcome
from medsam.training.samples.dataset import Draws, join_batches

TAUGHT = replace(CONFIG, student="tiny_vit_s", epochs=4, learning_rate=5e-3, cosine_weight=0.5)


def teacher() -> MedSAM:
    """With a frame of 96 pixels and a grid of 12, where the student has 64 and 8."""
    torch.manual_seed(3)
    encoder = TinyViT(
        widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), heads=(1, 2, 2, 2), windows=(4, 4, 4, 4), image_size=96,
        out_channels=32,
    )  # fmt: skip
    prompts = PromptEncoder(image_size=96, grid=12, channels=32)
    model = MedSAM(encoder, prompts, MaskDecoder(channels=32, heads=2, hidden=64)).eval()
    calibrate_batch_norms(model, Draws(source(DISCS[0], "train"), replace(MANIFEST, frame_size=96), CONFIG))
    return model


DISCS: list[Path] = []


@pytest.fixture(autouse=True)
def _discs(discs: Path) -> None:
    DISCS[:] = [discs]


def student(discs: Path) -> MedSAM:
    model = tiny_model()
    copy_decoder(model, teacher())
    calibrate_batch_norms(model, Draws(source(discs, "train"), MANIFEST, TAUGHT))
    return model


def teach(discs: Path, run: Path, *, resume: bool = False) -> RunOutcome:
    manifest = replace(MANIFEST, frame_size=96)
    tutor = Predictor(TorchRuntime(teacher(), device=torch.device("cpu")), manifest, weights="teacher")
    return fit(
        TAUGHT, run, student(discs), MANIFEST, source(discs, "train"), tune=source(discs, "tune"),
        teacher=tutor, resume=resume, device="cpu",
    )  # fmt: skip


def test_a_student_learns_features_keeps_the_decoder_and_goes_on_bit_by_bit(discs: Path, tmp_path: Path) -> None:
    assert teach(discs, tmp_path / "whole").finished
    losses = [float(str(line["loss"])) for line in read_metrics(tmp_path / "whole") if "loss" in line]
    assert len(losses) == 9
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert len(list((tmp_path / "whole/embeddings").rglob("*.embedding"))) == 9  # each picture once
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut/model.safetensors").unlink()
    (sealed.list_checkpoints(tmp_path / "cut")[-1] / "state.json").unlink()
    assert teach(discs, tmp_path / "cut", resume=True).finished
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    for name, tensor in teacher().state_dict().items():
        if not name.startswith("image_encoder."):
            assert torch.equal(whole[name], tensor), name
    model = tiny_model()
    model.load_state_dict(whole)
    predictor = Predictor(TorchRuntime(model, device=torch.device("cpu")), MANIFEST, weights="student")
    masks, _ = predictor.decode(predictor.embed(np.zeros((60, 80, 3), np.uint8)), boxes=[(10, 10, 40, 40)])
    assert masks.shape == (1, 60, 80)


def test_the_loss_by_hand(discs: Path) -> None:
    """Features off by one everywhere: a squared error of 1; opposite ones: a cosine distance of 2."""
    model = student(discs)
    batch = join_batches([Draws(source(discs, "train"), MANIFEST, TAUGHT)[d] for d in range(2)])
    with torch.no_grad():
        found = model.encode(batch.image_B3SS)
        plain = Distillation(model, replace(TAUGHT, cosine_weight=0.0))
        assert plain(batch, found + 1).tolist() == pytest.approx([1, 1], rel=1e-5)
        both = Distillation(model, replace(TAUGHT, cosine_weight=0.5))
        expected = (4 * found**2).mean(dim=(1, 2, 3)) + 0.5 * 2
        assert torch.allclose(both(batch, -found), expected, rtol=1e-5)
    torch.testing.assert_close(resize_features(torch.full((1, 2, 12, 12), 3.0), 8), torch.full((1, 2, 8, 8), 3.0))
    assert resize_features(found, 8) is found


def test_calibrated_features_do_not_depend_on_the_scale_of_a_fresh_network(discs: Path) -> None:
    model = tiny_model()
    draws = Draws(source(discs, "train"), MANIFEST, TAUGHT)
    calibrate_batch_norms(model, draws)
    norm = model.image_encoder.patch_embed.seq[0].bn
    with torch.no_grad():
        out = torch.cat([model.image_encoder.patch_embed.seq[0](draws[d].image_B3SS) for d in range(9)])
    assert out.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert (out.std(dim=(0, 2, 3)) - 1).abs().max() < 0.2
    assert not norm.training


def test_a_light_student_of_medsam_is_known_by_its_weights(tmp_path: Path) -> None:
    big = build("vit_b", initialise=False)
    for tensor in [*big.prompt_encoder.state_dict().values(), *big.mask_decoder.state_dict().values()]:
        torch.nn.init.constant_(tensor, 0.01)
    base = CATALOG["medsam-vit-b"].manifest
    config = replace(TAUGHT, base="medsam-vit-b", name="light")
    model, manifest = new_student(big, base, new_manifest(base, config), config)
    assert (manifest.architecture, manifest.frame_size, manifest.fit) == ("tiny_vit_s", 256, "squash")
    assert manifest.interpolation == base.interpolation
    assert 1e6 < sum(p.numel() for p in model.image_encoder.parameters()) < 4e6
    again, _ = new_student(big, base, new_manifest(base, config), config)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True))
    save_checkpoint(model, manifest, tmp_path / "light.safetensors")
    loaded, bound = load_checkpoint(tmp_path / "light.safetensors")
    assert bound.architecture == "tiny_vit_s"
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    predictor = load_predictor(tmp_path / "light.safetensors", device="cpu")
    masks, _ = predictor.decode(predictor.embed(np.zeros((30, 40, 3), np.uint8)), boxes=[(5, 5, 20, 20)])
    assert masks.shape == (1, 30, 40)


def test_a_student_starts_from_a_part_of_a_larger_tiny_vit_where_that_is_asked_for() -> None:
    base = CATALOG["lite-medsam"].manifest
    big, config = build("tiny_vit"), replace(TAUGHT, base="lite-medsam", student_start="base")
    model, _ = new_student(big, base, new_manifest(base, config), config)
    name = "image_encoder.layers.3.blocks.0.mlp.fc1.weight"
    assert torch.equal(model.state_dict()[name], big.state_dict()[name])
    with pytest.raises(DataError, match="larger TinyViT"):
        new_student(build("vit_b", initialise=False), base, new_manifest(base, config), config)
    with pytest.raises(DataError, match="without a student"):
        replace(CONFIG, student_start="base")


def test_students_that_cannot_learn_are_refused() -> None:
    base = CATALOG["medsam-vit-b"].manifest
    other = replace(base, fit="pad")
    with pytest.raises(DataError, match="lie over each other"):
        new_student(tiny_model(), base, other, TAUGHT)
    for change in ({"encoder": "lora"}, {"augmentation": "light"}, {"quality_weight": 1.0}, {"cosine_weight": -1.0}):
        with pytest.raises(DataError, match=next(iter(change))):
            replace(TAUGHT, **change)  # type: ignore[arg-type]
