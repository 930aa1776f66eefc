"""A server under load: prompts at once on cached embeddings beside the bare decode, and a soak. Prints JSON.

    python benchmarks/serve.py --prompts 200 --model openmedsam-lite
    python benchmarks/serve.py --soak-minutes 20 --clients 4

The server is a process of its own on loopback. The slope of its memory is that of a straight line through its resident
size, asked every two seconds after the first quarter, in which caches fill.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import nibabel
import numpy as np

from medsam.imaging.image import Grid, Image
from medsam.imaging.modality import Modality
from medsam.inference.predictor import Predictor, load_predictor

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

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)


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


async def prompt_at_once(run: Run, count: int) -> dict[str, object]:
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


def soak(run: Run, minutes: float, clients: int) -> dict[str, object]:
    """Let clients prompt, draw, undo, look and ask for exports for some minutes, and follow the server's memory."""
    end, counts, failed = time.monotonic() + 60 * minutes, [0] * clients, []

    def work(me: int) -> None:
        rng = np.random.default_rng(me)
        path = f"/api/v1/cases/{run.case}"
        with httpx.Client(base_url=run.base, headers=run.headers, timeout=300) as client:
            while time.monotonic() < end:
                k, what = int(rng.integers(SHAPE[0])), int(rng.integers(6))
                version = {"If-Match": client.get(f"{path}/head").headers["etag"]}
                if what < 2:
                    body = {"slice": k, "label": me + 1, "box": [60, 60, 200, 180], "save": True}
                    answer = client.post(f"{path}/prompts", json=body, headers=version)
                elif what == 2:
                    drawn = np.full(SHAPE[1:], me + 1, np.uint8).tobytes()
                    octets = {"Content-Type": "application/octet-stream"} | version
                    answer = client.put(f"{path}/mask/stored/{k}", content=drawn, headers=octets)
                elif what == 3:
                    answer = client.post(f"{path}/undo", headers=version)
                elif what == 4:
                    answer = client.get(f"{path}/slices/axial/{k}")
                else:
                    answer = client.get(f"{path}/export", params={"format": "nifti"})
                counts[me] += 1
                if answer.status_code >= 500:
                    failed.append(answer.status_code)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(clients)]
    for thread in threads:
        thread.start()
    start, seen = time.monotonic(), []
    while time.monotonic() < end:
        seen.append(((time.monotonic() - start) / 60, run.resident_mib))
        time.sleep(2)
    for thread in threads:
        thread.join()
    late = np.array([one for one in seen if one[0] >= minutes / 4])
    slope = float(np.polyfit(late[:, 0], late[:, 1], 1)[0])
    return {
        "minutes": minutes, "clients": clients, "requests": sum(counts), "errors_5xx": len(failed),
        "first_mib": seen[0][1], "last_mib": seen[-1][1], "largest_mib": max(m for _, m in seen), "mib_a_minute": slope,
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
                print(json.dumps(soak(run, asked.soak_minutes, asked.clients)), flush=True)
                return
            told = asyncio.run(prompt_at_once(run, asked.prompts))
        finally:
            run.stop()
        bare = bare_decode(load_predictor(asked.model, device="cpu"), 40)
        print(json.dumps(told | {"model": asked.model, "bare_decode_s": bare}), flush=True)


if __name__ == "__main__":
    main()
