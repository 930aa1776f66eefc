"""The whole command: `medsam --help`, and one `medsam segment` against import torch plus the encode itself.

Both sides in one run, medians of several processes; prints JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Picture

REPEATS = 5
MEDSAM = str(Path(sys.executable).with_name("medsam"))
ENCODE = """
import json, time, sys
start = time.perf_counter()
import torch
imported = time.perf_counter() - start
import numpy as np, medsam
from PIL import Image
image = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
predictor = medsam.load_predictor()
start = time.perf_counter()
predictor.embed(image)
print(json.dumps({"import_torch": imported, "first_encode": time.perf_counter() - start}))
"""


def wall(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yy, xx = np.mgrid[:512, :512]
        picture = np.where((xx - 250) ** 2 + (yy - 240) ** 2 < 90**2, 180, 70) + np.random.default_rng(0).normal(
            0, 6, (512, 512)
        )
        Picture.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "disc.png")
        segment = (
            MEDSAM,
            "segment",
            str(folder / "disc.png"),
            "--box",
            "155,145,345,335",
            "-o",
            str(folder / "mask.png"),
            "--overwrite",
        )
        wall(*segment)  # warm: files in the page cache
        parts, wholes, helps = [], [], []
        for _ in range(REPEATS):
            done = subprocess.run(
                [sys.executable, "-c", ENCODE, str(folder / "disc.png")], check=True, capture_output=True, text=True
            )
            parts.append(json.loads(done.stdout))
            wholes.append(wall(*segment))
            helps.append(wall(MEDSAM, "--help"))
    torch_s = statistics.median(p["import_torch"] for p in parts)
    encode_s = statistics.median(p["first_encode"] for p in parts)
    segment_s = statistics.median(wholes)
    result = {
        "help_seconds": round(statistics.median(helps), 3),
        "segment_seconds": round(segment_s, 3),
        "import_torch_seconds": round(torch_s, 3),
        "first_encode_seconds": round(encode_s, 3),
        "segment_above_torch_and_encode_seconds": round(segment_s - torch_s - encode_s, 3),
        "targets": {"help_seconds": 0.3, "segment_above_torch_and_encode_seconds": 1.5},
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
