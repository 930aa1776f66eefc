"""The end of a server: it waits for what runs, but not for ever."""

from __future__ import annotations

import asyncio

from serving import Served, prompt

from medsam.server.lifecycle import Lifecycle, drain


def test_draining_ends_with_the_work_or_with_patience() -> None:
    left = [True, True, False]
    assert asyncio.run(drain(lambda: left.pop(0), seconds=60))
    assert not asyncio.run(drain(lambda: True, seconds=0.01))


def test_an_ending_server_refuses_what_is_new_and_says_so(served: Served) -> None:
    assert prompt(served, version=0).status_code == 200
    life: Lifecycle = served.app.state.life
    assert life.stage == "ready"
    life.stage = "stopping"
    late = prompt(served, version=1)
    assert late.status_code == 503 and late.headers["retry-after"] == "5" and "ending" in late.json()["got"]
    ready = served.client.get("/readyz")
    assert (ready.status_code, ready.json()["stage"]) == (503, "stopping") and "retry-after" in ready.headers
    assert served.client.get("/healthz").status_code == 200
    assert served.head()["version"] == 1  # what was saved may still be fetched
    life.stage = "starting"
    assert served.client.get("/readyz").json() == {"ok": False, "stage": "starting"}
