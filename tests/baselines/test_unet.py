"""The built-in U-Net: nnU-Net's plan for known shapes, a loss checked by hand, and learning."""

from __future__ import annotations

import math

import pytest
import torch

from medsam.baselines.unet import UNet, UNetPlan, deep_supervision_loss, plan_unet
from medsam.errors import DataError

SMALL = UNetPlan((16, 32), ((1, 1), (2, 2), (1, 2)), (8, 16, 32), 2)


def test_the_plan_for_512_pixels_is_nnunets_default_2d_configuration() -> None:
    """nnU-Net plans 512 x 512 images with 8 stages down to 4 x 4 and a batch of 12 or 13 on its 8 GB reference."""
    plan = plan_unet((512, 512), 1000)
    assert plan.patch_HW == (512, 512)
    assert plan.features == (32, 64, 128, 256, 512, 512, 512, 512)
    assert plan.strides == ((1, 1), *((2, 2),) * 7)
    assert plan.batch_size in (12, 13)


def test_an_oblong_image_is_halved_less_along_its_short_side() -> None:
    plan = plan_unet((40, 320), 500)
    assert plan.patch_HW == (40, 320)
    assert [sum(stride[axis] == 2 for stride in plan.strides) for axis in (0, 1)] == [3, 6]
    assert plan.strides[-1] == (1, 2)


def test_little_memory_gives_a_smaller_patch_and_few_images_a_small_batch() -> None:
    assert max(plan_unet((2048, 2048), 100).patch_HW) < 2048
    assert plan_unet((256, 256), 40).batch_size == 2  # 5 % of 40 images
    assert plan_unet((256, 256), 10_000, memory_gb=1).batch_size < plan_unet((256, 256), 10_000).batch_size


@pytest.mark.parametrize(("shape", "images"), [((7, 64), 10), ((64, 64), 0)])
def test_too_little_to_plan_for_is_refused(shape: tuple[int, int], images: int) -> None:
    with pytest.raises(DataError, match="at least one image"):
        plan_unet(shape, images)


def test_every_resolution_but_the_lowest_has_logits() -> None:
    outputs = UNet(SMALL, 2)(torch.zeros(3, 2, 16, 32))
    assert [tuple(o.shape) for o in outputs] == [(3, 1, 16, 32), (3, 1, 8, 16)]


def test_the_loss_is_dice_and_cross_entropy_of_the_full_resolution_when_there_are_two() -> None:
    target = torch.zeros(1, 1, 2, 2)
    target[0, 0, 0, 0] = 1
    logits = [torch.zeros(1, 1, 2, 2), torch.full((1, 1, 1, 1), 9.0)]  # probability 0.5 everywhere; the lowest counts 0
    dice = (2 * 0.5 + 1e-5) / (4 * 0.5 + 1 + 1e-5)
    assert float(deep_supervision_loss(logits, target)) == pytest.approx(1 - dice + math.log(2), abs=1e-6)


def test_it_learns_to_fill_the_box_it_is_given() -> None:
    torch.manual_seed(0)
    network = UNet(SMALL, 2)
    x = torch.rand(4, 2, 16, 32)
    x[:, 1] = 0
    for i in range(4):
        x[i, 1, i : i + 8, 8:24] = 1
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.99, nesterov=True)
    losses = []
    for _ in range(25):
        loss = deep_supervision_loss(network(x), x[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
