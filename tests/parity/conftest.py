"""The published implementations that our networks are held against."""

import sys
import types

import pytest
import torch


@pytest.fixture(scope="session")
def segment_anything():
    """segment-anything 1.0 with a stand-in for torchvision, of which it needs nothing in the networks."""
    names = ["torchvision", *(f"torchvision.{n}" for n in ("transforms", "transforms.functional", "ops", "ops.boxes"))]
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = types.ModuleType(name)
    for name in ("resize", "to_pil_image"):
        setattr(sys.modules["torchvision.transforms.functional"], name, None)
    for name in ("batched_nms", "box_area"):
        setattr(sys.modules["torchvision.ops.boxes"], name, None)
    try:
        return pytest.importorskip("segment_anything")
    finally:
        for name in absent:
            del sys.modules[name]


@pytest.fixture(scope="session")
def randomise():
    """Give every weight of a module a value that matters, so that no key can be swapped or forgotten unseen."""

    def fill(module, seed=0):
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "gaussian" in name:
                tensor.copy_(noise)
            elif tensor.ndim == 1:
                tensor.copy_(noise * 0.1 + (0.5 if name.endswith(("weight", "running_var")) else 0.0))
                if name.endswith("running_var"):
                    tensor.abs_().add_(0.1)
            elif "rel_pos" in name or "pos_embed" in name or "attention_biases" in name:
                tensor.copy_(noise * 0.5)
            elif tensor.shape[0] == 1 or name.endswith("mask_tokens.weight"):
                tensor.copy_(noise)
            else:
                tensor.copy_(noise * tensor[0].numel() ** -0.5)
        return module

    return fill
