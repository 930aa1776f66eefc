"""Our readers of volumes against nibabel, pynrrd and SimpleITK: damages that are read as wrong values, and times; prints JSON.

A damage is silent where a reader gives values or a grid other than those of the undamaged file, without an error. Seeded
damages, the same for every reader: bytes changed, removed, doubled, or the end cut off. Bytes whose loss nobody can see (the
voxels of an uncompressed file, which has no checksum) stay silent for every reader.

    python benchmarks/readers.py --damages 150
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import SimpleITK as sitk

import medsam
from medsam.io.formats import write_image

Reading = tuple[np.ndarray, np.ndarray]  # values, and an affine in the reader's own convention
SHAPE = (24, 96, 96)
REPEATS = 5


def ours(path: Path) -> Reading:
    image = medsam.read_image(path)
    assert image.grid.affine is not None
    return image.values, image.grid.affine


def by_nibabel(path: Path) -> Reading:
    image = nibabel.load(path)
    return np.array(image.dataobj), image.affine  # a copy: the file behind a memory map is damaged next


def by_pynrrd(path: Path) -> Reading:
    values, header = nrrd.read(str(path))
    return values, np.vstack([header["space directions"], header["space origin"]])


def by_simpleitk(path: Path) -> Reading:
    image = sitk.ReadImage(str(path))
    place = [*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()]
    return sitk.GetArrayFromImage(image), np.array(place)


CASES: tuple[tuple[str, dict[str, Callable[[Path], Reading]]], ...] = (
    (".nii", {"nibabel": by_nibabel, "SimpleITK": by_simpleitk}),
    (".nii.gz", {"nibabel": by_nibabel, "SimpleITK": by_simpleitk}),
    (".nrrd", {"pynrrd": by_pynrrd, "SimpleITK": by_simpleitk}),
    (".mha", {"SimpleITK": by_simpleitk}),
)


def scan(rng: np.random.Generator) -> medsam.Image:
    """Noise on a smooth ground, as CT has it, on an oblique grid."""
    ground = np.add.outer(np.add.outer(np.arange(SHAPE[0]) * 9, np.arange(SHAPE[1]) * 3), np.arange(SHAPE[2]) * 2)
    values = (ground - 600 + rng.integers(-20, 21, SHAPE)).astype(np.int16)
    c, s = np.cos(0.2), np.sin(0.2)
    affine = np.array([[0, -0.7 * s, 0.7 * c, -50], [0, 0.7 * c, 0.7 * s, 20], [2.5, 0, 0, 100], [0, 0, 0, 1.0]])
    return medsam.Image(values, medsam.Grid(SHAPE, affine=affine))


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One damage, half of the time within the first kilobyte, where headers are."""
    at = rng.randrange(min(len(data), 1024) if rng.random() < 0.5 else len(data))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at] + data[at + rng.randint(1, 64) :]
    if kind == 2:
        return data[: at + 64] + data[at:]
    return data[: max(at, 1)]


def outcome(read: Callable[[Path], Reading], path: Path, truth: Reading) -> str:
    """ "refused", "right" or "silent"; a reader may raise whatever it likes."""
    try:
        values, place = read(path)
    except Exception:  # noqa: BLE001
        return "refused"
    same = values.shape == truth[0].shape and np.array_equal(values, truth[0])
    return "right" if same and place.shape == truth[1].shape and np.allclose(place, truth[1], atol=1e-3) else "silent"


def measure(suffix: str, readers: dict[str, Callable[[Path], Reading]], count: int, folder: Path) -> dict[str, object]:
    """Outcomes and the median time of a read of the whole file, for every reader of one format."""
    path = folder / suffix / f"a{suffix}"  # alone: SimpleITK reads a.nii where a.nii.gz is damaged
    path.parent.mkdir()
    write_image(scan(np.random.default_rng(0)), path)
    whole = path.read_bytes()
    every = {"openmedsam": ours, **readers}
    truths = {name: read(path) for name, read in every.items()}
    counts = {name: {"refused": 0, "right": 0, "silent": 0} for name in every}
    for number in range(count):
        path.write_bytes(damaged(whole, random.Random(f"{suffix}-{number}")))
        for name, read in every.items():
            counts[name][outcome(read, path, truths[name])] += 1
    path.write_bytes(whole)
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for _ in range(REPEATS):
        for name, read in every.items():
            start = time.perf_counter()
            read(path)
            seconds[name].append(time.perf_counter() - start)
    return {name: {**counts[name], "milliseconds": round(1000 * statistics.median(seconds[name]), 2)} for name in every}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damages", type=int, default=150, help="of every format")
    count = parser.parse_args().damages
    warnings.simplefilter("ignore")
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    with tempfile.TemporaryDirectory() as folder:
        formats = {suffix: measure(suffix, readers, count, Path(folder)) for suffix, readers in CASES}
    print(json.dumps({"benchmark": "readers", "damages": count, "shape": SHAPE, "formats": formats}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
