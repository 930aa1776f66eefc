from __future__ import annotations

import pytest

from medsam.errors import DataError
from medsam.training.config import TrainConfig, compare_configs
from medsam.training.specialist.config import SpecialistConfig


def test_a_record_gives_the_same_run_and_differences_are_listed() -> None:
    config = SpecialistConfig("deeplabv3plus", ("a", "b"), modality="MR", epochs=7)
    again = SpecialistConfig.from_json(config.to_json())
    assert again == config and compare_configs(config, again) == {}
    other = SpecialistConfig("deeplabv3plus", ("a",), modality="MR", epochs=8)
    assert compare_configs(config, other) == {"data": (("a", "b"), ("a",)), "epochs": (7, 8)}


def test_boxes_move_as_those_of_our_own_model() -> None:
    assert SpecialistConfig("unet", ("a",)).noise.max_px == TrainConfig.box_noise_px == 20
    assert SpecialistConfig("unet", ("a",)).noise.kind == TrainConfig.box_noise == "both"


@pytest.mark.parametrize("text", ["", "[]", '{"network": "unet"}', '{"data": ["a"], "network": "unet", "more": 1}'])
def test_another_record_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        SpecialistConfig.from_json(text)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"data": ()}, "no data"),
        ({"encoder": "a.pth"}, "an encoder for a U-Net"),
        ({"network": "deeplabv3plus", "batch_size": 1}, "a batch of one image"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(fields: dict[str, object], text: str) -> None:
    with pytest.raises(DataError, match=text):
        SpecialistConfig(**{"network": "unet", "data": ("x",), **fields})
