"""The mean of weights: values by hand, what a mean may claim, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medsam.errors import CheckpointError
from medsam.models.networks.medsam import MedSAM, build
from medsam.models.weights.average import average_weights, describe_average
from medsam.models.weights.checkpoint import save_checkpoint
from medsam.models.weights.manifest import Manifest

MANIFEST = Manifest("part", "tiny_vit_s", 256, "pad", "area", "min-max", "logits")


def tiny_model(seed: int) -> MedSAM:
    torch.manual_seed(seed)
    return build("tiny_vit_s")


def saved(folder: Path, seed: int, **changes: object) -> tuple[Path, Manifest]:
    model = tiny_model(seed)
    path = folder / f"{seed}.safetensors"
    return path, save_checkpoint(model, replace(MANIFEST, name=f"part-{seed}", **changes), path)  # type: ignore[arg-type]


def test_every_tensor_is_the_weighted_mean(tmp_path: Path) -> None:
    parts = [saved(tmp_path, seed) for seed in (0, 1)]
    model, _, told = average_weights(parts, [1, 3], name="mean")
    assert [part.share for part in told] == [0.25, 0.75]
    zero, one = tiny_model(0).state_dict(), tiny_model(1).state_dict()
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, 0.25 * zero[key] + 0.75 * one[key], atol=1e-6), key


def test_a_mean_of_one_model_with_itself_is_that_model(tmp_path: Path) -> None:
    part = saved(tmp_path, 0)
    model, _, _ = average_weights([part, part], name="same")
    own = tiny_model(0).state_dict()
    assert all(torch.allclose(tensor, own[key], atol=1e-7) for key, tensor in model.state_dict().items())


def test_a_mean_claims_only_what_every_part_can_and_keeps_all_licences(tmp_path: Path) -> None:
    a = saved(tmp_path, 0, prompts=("box", "point"), quality_trained=True, licence="Apache-2.0")
    b = saved(tmp_path, 1, prompts=("box",), quality_trained=False, licence="research use only")
    _, manifest, parts = average_weights([a, b], name="mean")
    assert (manifest.prompts, manifest.quality_trained, manifest.sha256) == (("box",), False, None)
    assert manifest.licence == "Apache-2.0 and research use only"
    card = describe_average(manifest, parts)
    assert f"| part-0 | 0.5 | {a[1].sha256} | Apache-2.0 |" in card
    assert f"| part-1 | 0.5 | {b[1].sha256} | research use only |" in card


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.0], [0.5, -1.0], [0.5, float("nan")], [1, 1, 1]])
def test_shares_that_do_not_fit_are_refused(tmp_path: Path, shares: list[float]) -> None:
    with pytest.raises(CheckpointError, match="at least two weights and a share"):
        average_weights([saved(tmp_path, 0), saved(tmp_path, 1)], shares, name="mean")


def test_parts_of_another_preprocessing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="part-1 has scaling unit and part-0 has min-max"):
        average_weights([saved(tmp_path, 0, scaling="min-max"), saved(tmp_path, 1, scaling="unit")], name="mean")
