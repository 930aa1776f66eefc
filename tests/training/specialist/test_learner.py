from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.optim import SGD, Adam

from medsam.baselines.deeplabv3plus import ResNet50
from medsam.baselines.unet import UNetPlan
from medsam.errors import CheckpointError
from medsam.training.specialist.config import SpecialistConfig
from medsam.training.specialist.learner import compute_specialist_rate, make_specialist_optimizer, start_network

DEEP = UNetPlan((224, 224), (), (), 2)


def test_rates_are_those_of_nnunet_and_of_the_released_recipe() -> None:
    assert [compute_specialist_rate("unet", e, 1000) for e in (0, 500)] == pytest.approx([0.01, 0.01 * 0.5**0.9])
    assert [compute_specialist_rate("deeplabv3plus", e, 500) for e in (0, 1, 2, 5)] == pytest.approx(
        [1e-3, 1e-3, 1e-3 * 0.94, 1e-3 * 0.94**2]
    )


def test_optimizers_are_those_of_nnunet_and_of_the_released_recipe() -> None:
    layer = torch.nn.Linear(1, 1)
    unet, deep = make_specialist_optimizer(layer, "unet"), make_specialist_optimizer(layer, "deeplabv3plus")
    assert isinstance(unet, SGD) and isinstance(deep, Adam)
    assert (unet.defaults["momentum"], unet.defaults["nesterov"], unet.defaults["weight_decay"]) == (0.99, True, 3e-5)
    assert deep.defaults["weight_decay"] == 4e-5


def test_an_encoder_file_is_where_deeplab_starts_and_the_seed_decides_the_rest(tmp_path: Path) -> None:
    given = ResNet50(3).state_dict()
    torch.save(given, tmp_path / "resnet50.pth")
    config = SpecialistConfig("deeplabv3plus", ("x",), encoder=str(tmp_path / "resnet50.pth"))
    weights = start_network(config, DEEP).state_dict()
    assert weights["encoder.layer1.0.conv1.weight"].equal(given["layer1.0.conv1.weight"])
    assert weights["head.weight"].equal(start_network(config, DEEP).state_dict()["head.weight"])
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no plain state dict"):
        start_network(SpecialistConfig("deeplabv3plus", ("x",), encoder=str(tmp_path / "list.pth")), DEEP)
