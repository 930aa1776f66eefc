"""A running average of the weights that learn, which may be the result of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from medsam.training.learner.trainable import list_trainable


class Average:
    """A running average of the weights that learn.

    Args:
        model: Its weights now are the start.
        decay: Share of the average that stays at each step; smaller in the first steps, so that the start fades.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {name: parameter.detach().clone() for name, parameter in list_trainable(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, parameter in list_trainable(model).items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Within, the model has the averaged weights."""
        own = {name: parameter.detach().clone() for name, parameter in list_trainable(model).items()}
        _set(model, self.values)
        try:
            yield
        finally:
            _set(model, own)


@torch.no_grad()
def _set(model: nn.Module, values: dict[str, Tensor]) -> None:
    for name, parameter in list_trainable(model).items():
        parameter.copy_(values[name])
