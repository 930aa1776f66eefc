"""Distillation: a student learns its teacher's features, keeps its decoder, and goes on exactly."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parent))
from tiny import CONFIG, MANIFEST, source, tiny_model

from medsam.errors import DataError
from medsam.evaluation.metrics import dice
from medsam.inference.predictor import Predictor, load_predictor
from medsam.inference.runtime import TorchRuntime
from medsam.models.catalog import CATALOG
from medsam.models.checkpoint import load_checkpoint, save_checkpoint
from medsam.models.mask_decoder import MaskDecoder
from medsam.models.medsam import MedSAM, build
from medsam.models.prompt_encoder import PromptEncoder
from medsam.models.tiny_vit import TinyViT
from medsam.training import checkpoint_run
from medsam.training.base import new_manifest
from medsam.training.dataset import Draws, join
from medsam.training.distill import Distillation, calibrate, new_student, resized, taken_over
from medsam.training.inherit import inherit
from medsam.training.loop import Outcome, fit
from medsam.training.monitor import read_metrics

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
    calibrate(model, Draws(source(DISCS[0], "train"), replace(MANIFEST, frame_size=96), CONFIG))
    return model


DISCS: list[Path] = []


@pytest.fixture(autouse=True)
def _discs(discs: Path) -> None:
    DISCS[:] = [discs]


def small(widths: tuple[int, ...], depths: tuple[int, ...], heads: tuple[int, ...], window: int = 4) -> TinyViT:
    return TinyViT(
        widths=widths, depths=depths, heads=heads, windows=(window,) * 4, image_size=64, out_channels=32
    ).eval()  # fmt: skip


def test_a_student_of_the_same_shape_inherits_everything() -> None:
    torch.manual_seed(5)
    base, same = (small((8, 16, 16, 32), (2, 1, 3, 1), (1, 2, 2, 4)) for _ in range(2))
    assert not torch.equal(base.neck[0].weight, same.neck[0].weight)
    inherit(same, base)
    assert all(torch.equal(one, same.state_dict()[name]) for name, one in base.state_dict().items())


def test_a_smaller_student_inherits_whole_heads_and_the_same_channels_everywhere() -> None:
    torch.manual_seed(6)
    base = small((8, 16, 32, 32), (2, 1, 3, 2), (1, 2, 4, 4))
    own = small((4, 8, 16, 32), (1, 1, 2, 1), (1, 1, 2, 4))
    inherit(own, base)
    ours, theirs = own.state_dict(), base.state_dict()
    # blocks 0 and 1 of three; heads 0 and 2 of four; of 32 channels every second
    second, block = torch.arange(0, 32, 2), "layers.2.blocks.1."
    qkv = theirs[block + "attn.qkv.weight"].view(4, 3, 8, 32)[::2, :, :, second].reshape(48, 16)
    assert torch.equal(ours[block + "attn.qkv.weight"], qkv)
    proj = theirs[block + "attn.proj.weight"].view(32, 4, 8)[second][:, ::2].reshape(16, 16)
    assert torch.equal(ours[block + "attn.proj.weight"], proj)
    assert torch.equal(ours[block + "attn.attention_biases"], theirs[block + "attn.attention_biases"][::2])
    assert torch.equal(ours[block + "mlp.fc1.weight"], theirs[block + "mlp.fc1.weight"][::2, ::2])
    assert torch.equal(
        ours["layers.0.downsample.conv1.c.weight"], theirs["layers.0.downsample.conv1.c.weight"][::2, ::2]
    )
    assert torch.equal(ours["neck.0.weight"], theirs["neck.0.weight"])


@pytest.mark.parametrize(
    "base",
    [
        small((4, 8, 8, 32), (1, 1, 1, 1), (1, 1, 1, 4)),  # narrower
        small((8, 16, 32, 32), (1, 1, 1, 1), (1, 2, 4, 4), window=7),
        build("vit_b", initialise=False).image_encoder,
    ],
)
def test_a_base_that_has_less_or_other_parts_is_refused(base: torch.nn.Module) -> None:
    with pytest.raises(DataError, match=r"expected a TinyViT of at least"):
        inherit(small((8, 8, 16, 32), (1, 1, 1, 1), (1, 1, 2, 4)), base)


def student(discs: Path) -> MedSAM:
    model = tiny_model()
    taken_over(model, teacher())
    calibrate(model, Draws(source(discs, "train"), MANIFEST, TAUGHT))
    return model


def teach(discs: Path, run: Path, *, resume: bool = False) -> Outcome:
    manifest = replace(MANIFEST, frame_size=96)
    tutor = Predictor(TorchRuntime(teacher(), device=torch.device("cpu")), manifest, weights="teacher")
    return fit(
        TAUGHT, run, student(discs), MANIFEST, source(discs, "train"), tune=source(discs, "tune"),
        measures={"dice": dice}, teacher=tutor, resume=resume, device="cpu",
    )  # fmt: skip


def test_a_student_learns_features_keeps_the_decoder_and_goes_on_bit_by_bit(discs: Path, tmp_path: Path) -> None:
    assert teach(discs, tmp_path / "whole").finished
    losses = [float(str(line["loss"])) for line in read_metrics(tmp_path / "whole") if "loss" in line]
    assert len(losses) == 9
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])
    assert len(list((tmp_path / "whole/embeddings").rglob("*.embedding"))) == 9  # each picture once
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut/model.safetensors").unlink()
    (checkpoint_run.checkpoints(tmp_path / "cut")[-1] / "state.json").unlink()
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
    batch = join([Draws(source(discs, "train"), MANIFEST, TAUGHT)[d] for d in range(2)])
    with torch.no_grad():
        found = model.encode(batch.image_B3SS)
        plain = Distillation(model, replace(TAUGHT, cosine_weight=0.0))
        assert plain(batch, found + 1).tolist() == pytest.approx([1, 1], rel=1e-5)
        both = Distillation(model, replace(TAUGHT, cosine_weight=0.5))
        expected = (4 * found**2).mean(dim=(1, 2, 3)) + 0.5 * 2
        assert torch.allclose(both(batch, -found), expected, rtol=1e-5)
    torch.testing.assert_close(resized(torch.full((1, 2, 12, 12), 3.0), 8), torch.full((1, 2, 8, 8), 3.0))
    assert resized(found, 8) is found


def test_calibrated_features_do_not_depend_on_the_scale_of_a_fresh_network(discs: Path) -> None:
    model = tiny_model()
    draws = Draws(source(discs, "train"), MANIFEST, TAUGHT)
    calibrate(model, draws)
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
