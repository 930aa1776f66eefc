"""The tail of an encoder learns on features of the stem that are encoded once; what is measured is what was learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import losses, weights
from tiny import CONFIG, MANIFEST, source, tiny_model, train

from medsam.errors import CheckpointError, DataError
from medsam.inference.predictor import Predictor
from medsam.inference.runtimes.torch import TorchRuntime
from medsam.models.networks.fast.image_encoder import FusedImageEncoder
from medsam.models.networks.fast.tiny_vit import FusedTinyViT
from medsam.models.networks.image_encoder import ImageEncoder
from medsam.training.learner.frozen_features import Features, hash_stem
from medsam.training.learner.trainable import set_trainable
from medsam.training.run.monitor import read_metrics
from medsam.training.run.validation import find_medians, measure_source

TAIL = replace(CONFIG, encoder="tail", tail=1)


@pytest.mark.parametrize("count", [1, 2])
def test_stem_and_tail_are_the_encoder(count: int) -> None:
    image = torch.randn(2, 3, 64, 64)
    encoder = tiny_model().image_encoder
    with torch.no_grad():
        assert torch.equal(encoder.tail(encoder.stem(image, count), count), encoder(image))
        assert torch.allclose(FusedTinyViT(encoder).stem(image, count), encoder.stem(image, count), atol=1e-5)


def test_stem_and_tail_of_a_vit_are_the_encoder() -> None:
    image = torch.randn(2, 3, 64, 64)
    encoder = ImageEncoder(channels=32, depth=3, heads=2, global_blocks=(2,), image_size=64, window=2, out_channels=16)
    with torch.no_grad():
        whole = encoder(image)
        for count in (1, 3):
            assert torch.equal(encoder.tail(encoder.stem(image, count), count), whole)
            assert torch.allclose(FusedImageEncoder(encoder).stem(image, count), encoder.stem(image, count), atol=1e-5)


def test_a_tail_longer_than_the_encoder_is_refused() -> None:
    with pytest.raises(CheckpointError, match="a tail of 4 stages"):
        set_trainable(tiny_model(), replace(TAIL, tail=4))
    with pytest.raises(DataError, match="tail is 0"):
        replace(TAIL, tail=0)


def test_only_the_tail_and_the_decoder_change(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run", replace(TAIL, epochs=1))
    start, end = tiny_model().state_dict(), weights(tmp_path / "run")
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    encoder = {name for name in changed if name.startswith("image_encoder.")}
    tail = ("image_encoder.layers.2.downsample.", "image_encoder.layers.3.", "image_encoder.neck.")
    assert encoder
    assert all(name.startswith(tail) for name in encoder)
    assert {one for one in tail if any(name.startswith(one) for name in encoder)} == set(tail)


def test_features_encoded_once_change_nothing_and_may_be_shared(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "fresh", TAIL)
    shared = replace(TAIL, cache_embeddings=True, cache_folder=str(tmp_path / "features"))
    for name in ("first", "second"):
        train(discs, tmp_path / name, shared)
        assert max(abs(a - b) for a, b in zip(losses(tmp_path / "fresh"), losses(tmp_path / name), strict=True)) < 1e-4
    assert losses(tmp_path / "first") == losses(tmp_path / "second")  # fresh features or kept ones, to the bit
    first, second = (weights(tmp_path / name) for name in ("first", "second"))
    assert all(torch.equal(one, second[name]) for name, one in first.items())
    assert len(list((tmp_path / "features").rglob("*.embedding"))) == 12
    assert not (tmp_path / "second/embeddings").exists()


def test_a_run_in_half_precision_may_keep_its_features(discs: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "bf16"):
        train(discs, tmp_path / precision, replace(TAIL, cache_embeddings=True, precision=precision))
    assert losses(tmp_path / "bf16") == pytest.approx(losses(tmp_path / "fp32"), rel=0.05)
    assert losses(tmp_path / "bf16") != losses(tmp_path / "fp32")


def test_features_are_kept_under_the_weights_before_the_tail() -> None:
    model = tiny_model()
    before = hash_stem(model, 1), hash_stem(model)
    with torch.no_grad():
        model.image_encoder.neck[0].weight.add_(1)
    assert hash_stem(model, 1) == before[0]
    assert hash_stem(model) != before[1]
    with torch.no_grad():
        model.image_encoder.layers[0].blocks[0].conv1.c.weight.add_(1)
    assert hash_stem(model, 1) != before[0]


@pytest.mark.parametrize("encoder", ["full", "tail", "frozen"])
def test_what_is_measured_during_training_is_what_was_learnt(discs: Path, tmp_path: Path, encoder: str) -> None:
    """The last measurement of a run against the saved weights, served."""
    config = replace(CONFIG, epochs=6, encoder=encoder, cache_embeddings=encoder != "full")  # type: ignore[arg-type]
    train(discs, tmp_path / "run", config)
    noted = [line["tune_dice"] for line in read_metrics(tmp_path / "run") if "tune_dice" in line]
    model = tiny_model()
    model.load_state_dict(weights(tmp_path / "run"))
    served = Predictor(TorchRuntime(model, device=torch.device("cpu")), MANIFEST, weights="saved")
    scores = [one for part in measure_source(served, source(discs, "tune"), config) for one in part.scores]
    assert noted[-1] == pytest.approx(np.mean(list(find_medians(scores, "dice", "modality").values())), abs=1e-6)
    assert noted[-1] != noted[0]


def test_features_of_a_picture_decode_as_the_picture_does(discs: Path, tmp_path: Path) -> None:
    model = set_trainable(tiny_model(), TAIL)
    kept = Features(TAIL, model, MANIFEST, tmp_path, device=torch.device("cpu"), precision="fp32")
    pixels = source(discs, "tune").read(0).pixels_HW3
    with torch.no_grad():
        whole = model.encode(torch.from_numpy(kept.predictor.make_frame(60, 80).image_to_model(pixels)[None]))
    for _ in range(2):  # encoded, then read from disk
        assert torch.allclose(kept.embedding(pixels, kept.predictor).features, whole, atol=1e-5)
