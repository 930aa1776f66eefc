"""The stages of a running server, and how it ends: what runs is finished, what is new is sent away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["starting", "ready", "stopping"]
GRACE_SECONDS = 30.0
POLL_SECONDS = 0.05


@dataclass(eq=False)
class Lifecycle:
    """How far a server is in its life."""

    stage: Stage = "starting"


async def drain(busy: Callable[[], bool], seconds: float = GRACE_SECONDS) -> bool:
    """Wait until nothing runs and nothing waits, but no longer than some seconds.

    Args:
        busy: Whether something does.
        seconds: How long.

    Returns:
        Whether all was finished.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while busy():
        if loop.time() >= end:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
