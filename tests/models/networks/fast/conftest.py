"""The matrix library under the rearranged networks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(params=["packed", "plain"])
def library(request: pytest.FixtureRequest) -> Iterator[None]:
    """With the packed layers of oneDNN, and with the plain layers that a build of torch without oneDNN uses."""
    with torch.backends.mkldnn.flags(enabled=request.param == "packed"):
        yield
