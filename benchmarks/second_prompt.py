"""Time of a second prompt on a slice, 0.3 s after the first: slices ahead at once against after 1.5 s of rest; prints JSON.

python benchmarks/second_prompt.py [--model lite-medsam]

Both take turns in one run on noise of 40 x 256 x 256 voxels, so a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from serving import scan_file, serve

import medsam
from medsam.jobs.options import IntensityOptions
from medsam.jobs.project import add_scan

SLICES = (5, 15, 25, 35)


def second_prompts(predictor: medsam.Predictor, ahead_seconds: float) -> list[float]:
    """Seconds of the second prompt on each slice of a scan that was never seen."""
    values = np.random.default_rng(0).integers(0, 1000, (40, 256, 256), dtype=np.int16)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder), predictor, ahead_seconds=ahead_seconds) as served:
        case = add_scan(served.project, scan_file(Path(folder) / "n.nii.gz", values), intensity=IntensityOptions("MR"))
        seconds = []
        for k in SLICES:
            path = f"/api/v1/cases/{case.id}/prompts"
            served.client.post(path, json={"slice": k, "box": [50, 50, 200, 200]}).raise_for_status()
            time.sleep(0.3)
            start = time.perf_counter()
            served.client.post(path, json={"slice": k, "box": [52, 50, 200, 200]}).raise_for_status()
            seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None)
    predictor = medsam.load_predictor(parser.parse_args().model, device="cpu")
    found: dict[float, list[float]] = {0.0: [], 1.5: []}
    for _ in range(2):
        for ahead_seconds, all_seconds in found.items():
            all_seconds.extend(second_prompts(predictor, ahead_seconds))
    rows = {f"ahead after {a} s": round(statistics.median(s), 3) for a, s in found.items()}
    print(json.dumps({"model": predictor.manifest.name, "second prompt, median s": rows}))


if __name__ == "__main__":
    main()
