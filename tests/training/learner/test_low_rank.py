"""Low-rank updates of the attention."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from tiny import CONFIG, tiny_model

from medsam.training.learner.low_rank import fold_updates
from medsam.training.learner.trainable import list_trainable, set_trainable


def test_low_rank_updates_begin_with_nothing_and_fold_in_exactly(discs: Path) -> None:
    image = torch.randn(1, 3, 64, 64)
    model = tiny_model()
    with torch.no_grad():
        before = model.encode(image)
        set_trainable(model, replace(CONFIG, encoder="lora", lora_rank=2))
        assert torch.equal(model.encode(image), before)
        for name, parameter in list_trainable(model).items():
            if name.endswith(".up"):
                parameter.normal_()
        assert not torch.allclose(model.encode(image), before)
        assert torch.equal(fold_updates(model).encode(image), model.encode(image))
