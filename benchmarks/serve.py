"""A server under load: prompts at once on cached embeddings beside the bare decode, and a soak. Prints JSON.

    python benchmarks/serve.py --prompts 200 --model openmedsam-lite
    python benchmarks/serve.py --soak-minutes 20 --clients 4

The server is a process of its own on loopback. A soak first fills what is bounded and then measures: the slope of memory
is that of a straight line through the resident size, asked every two seconds, in all these minutes and without their first
quarter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import nibabel
import numpy as np

from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality
from medsam.inference.predictor import Predictor, load_predictor
from medsam.server.scans import MAX_STATES

SHAPE = (24, 256, 256)


def scan() -> np.ndarray:
    """Drawn: a bright ball in noise."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = ((z - 12) * 8) ** 2 + (y - 120) ** 2 + (x - 130) ** 2 < 60**2
    return (np.random.default_rng(0).normal(60, 10, SHAPE) + 120 * ball).clip(0, 255).astype(np.int16)


class Run:
    """A server on a scan, started and, at the end, interrupted."""

    def __init__(self, folder: Path, model: str) -> None:
        nibabel.save(nibabel.Nifti1Image(scan().T, np.diag([-1, -1, 3.0, 1])), folder / "scan.nii.gz")
        code = "import sys; from medsam.cli.app import main; main(sys.argv[1:])"
        words = ["serve", str(folder), "--port", "0", "--modality", "MR", "--model", model, "--quiet"]
        self.process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        parts = urlsplit(self.process.stdout.readline().strip())
        self.base = f"http://{parts.netloc}"
        self.headers = {"Authorization": f"Bearer {parse_qs(parts.query)['token'][0]}"}
        with httpx.Client(base_url=self.base, headers=self.headers, timeout=120) as client:
            self.case = client.get("/api/v1/cases").json()[0]["id"]

    @property
    def resident_mib(self) -> float:
        """What the server holds."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def stop(self) -> float:
        """End it; the seconds that it took."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(90)
        return time.monotonic() - start


def bare_decode(predictor: Predictor, repeats: int) -> float:
    """Median seconds of a prompt on an embedding that is there, without a server."""
    image = Image(scan().astype(np.uint8), Grid(SHAPE, (3.0, 1.0, 1.0)), modality=Modality.MR)
    embedding = predictor.embed(image.slice_rgb(12))
    seconds = []
    for n in range(repeats):
        start = time.perf_counter()
        predictor.decode(embedding, boxes=[(60 + n % 20, 60, 200, 180)])
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


async def prompt_at_once(run: Run, count: int) -> dict[str, Any]:
    """Ask for many slices and objects at once, whose embeddings are there."""
    limits = httpx.Limits(max_connections=count)
    path = f"/api/v1/cases/{run.case}/prompts"
    async with httpx.AsyncClient(base_url=run.base, headers=run.headers, timeout=600, limits=limits) as client:
        for index in range(8):  # encoded once
            (await client.post(path, json={"slice": 8 + index, "box": [60, 60, 200, 180]})).raise_for_status()

        async def one(n: int) -> tuple[int, float]:
            body = {"slice": 8 + n % 8, "label": 1 + n // 8, "box": [60 + n % 20, 60, 200, 180]}
            start = time.perf_counter()
            answer = await client.post(path, json=body)
            return answer.status_code, time.perf_counter() - start

        start = time.perf_counter()
        answers = await asyncio.gather(*(one(n) for n in range(count)))
        whole = time.perf_counter() - start
    seconds = np.array([s for _, s in answers])
    return {
        "prompts": count, "failed": sum(status != 200 for status, _ in answers), "p50_s": float(np.quantile(seconds, 0.5)),
        "p99_s": float(np.quantile(seconds, 0.99)), "prompts_per_s": count / whole, "server_per_prompt_s": whole / count,
    }  # fmt: skip


def act(client: httpx.Client, path: str, rng: np.random.Generator, label: int) -> int:
    """Prompt, draw, undo, look or ask for an export; the status of the answer."""
    k, what = int(rng.integers(SHAPE[0])), int(rng.integers(6))
    version = {"If-Match": client.get(f"{path}/head").headers["etag"]}
    if what < 2:
        body = {"slice": k, "label": label, "box": [60, 60, 200, 180], "save": True}
        return client.post(f"{path}/prompts", json=body, headers=version).status_code
    if what == 2:
        octets = {"Content-Type": "application/octet-stream"} | version
        drawn = np.full(SHAPE[1:], label, np.uint8).tobytes()
        return client.put(f"{path}/mask/stored/{k}", content=drawn, headers=octets).status_code
    if what == 3:
        return client.post(f"{path}/undo", headers=version).status_code
    if what == 4:
        return client.get(f"{path}/slices/axial/{k}").status_code
    return client.get(f"{path}/export", params={"format": "nifti"}).status_code


def work(run: Run, clients: int, goes_on: Callable[[int], bool]) -> list[int]:
    """Let clients act at once while it goes on, asked with the number of acts of each; all statuses."""
    found: list[list[int]] = [[] for _ in range(clients)]

    def one(me: int) -> None:
        rng = np.random.default_rng(me)
        with httpx.Client(base_url=run.base, headers=run.headers, timeout=300) as client:
            while goes_on(len(found[me])):
                found[me].append(act(client, f"/api/v1/cases/{run.case}", rng, me + 1))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))
    return [status for own in found for status in own]


def fill(run: Run, clients: int) -> None:
    """Fill what is bounded: an embedding of each slice, the states that are kept, a thread and a connection for each client."""
    with httpx.Client(base_url=run.base, headers=run.headers, timeout=300) as client:
        for k in range(SHAPE[0]):
            body = {"slice": k, "box": [60, 60, 200, 180]}
            client.post(f"/api/v1/cases/{run.case}/prompts", json=body).raise_for_status()
    work(run, clients, lambda acts: acts < 6 * MAX_STATES // clients)  # of six acts three save


def soak(run: Run, minutes: float, clients: int) -> dict[str, Any]:
    """Fill the server's caches, then let clients work for some minutes, and follow the server's memory."""
    empty, began = run.resident_mib, time.monotonic()
    fill(run, clients)
    start = time.monotonic()
    end, seen = start + 60 * minutes, [(0.0, run.resident_mib)]
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, run, clients, lambda acts: time.monotonic() < end)
        while time.monotonic() < end:
            time.sleep(2)
            seen.append(((time.monotonic() - start) / 60, run.resident_mib))
        statuses = working.result()
    told = np.array(seen)
    slopes = [float(np.polyfit(part[:, 0], part[:, 1], 1)[0]) for part in (told, told[told[:, 0] >= minutes / 4])]
    return {
        "fill_minutes": (start - began) / 60, "minutes": minutes, "clients": clients, "requests": 2 * len(statuses),
        "errors_5xx": sum(status >= 500 for status in statuses), "empty_mib": empty, "first_mib": seen[0][1],
        "last_mib": seen[-1][1], "largest_mib": float(told[:, 1].max()), "mib_a_minute": slopes[0],
        "mib_a_minute_after_first_quarter": slopes[1],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--soak-minutes", type=float, default=0.0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--model", default="openmedsam-lite")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = Run(Path(name), asked.model)
        try:
            if asked.soak_minutes:
                told = soak(run, asked.soak_minutes, asked.clients)
            else:
                told = asyncio.run(prompt_at_once(run, asked.prompts))
        finally:
            ended = run.stop()
        told |= {"model": asked.model, "end_s": ended}
        if not asked.soak_minutes:
            bare = bare_decode(load_predictor(asked.model, device="cpu"), 40)
            told |= {"bare_decode_s": bare, "times_bare": told["server_per_prompt_s"] / bare}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
