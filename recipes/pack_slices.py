"""Pack the pictures of ../shared/data/slices and the weights to start from into one file for recipes/gpu.sh.

    python recipes/pack_slices.py ../shared/data/slices out/pack.tgz --base lite-medsam

Pictures are made no longer than 256 pixels, which is LiteMedSAM's frame, and stored as JPEG; masks are stored as PNG by the
nearest pixel. Weights are stored in float16. A file above the limit is refused.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
import tempfile
from pathlib import Path

from PIL import Image as Picture

from medsam.models.weights.catalog import resolve
from medsam.models.weights.checkpoint import load_checkpoint, save_checkpoint

MOST_BYTES = 40_000_000


def pack(collection: Path, out: Path, base: str, *, longest: int, quality: int) -> int:
    """Write the file; gives the number of pictures."""
    count = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(out, "w:gz") as tar:
        for index in sorted(collection.glob("*/index.csv")):
            root = index.parent
            with index.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            _add(tar, f"{root.name}/index.csv", index.read_bytes())
            for row in rows:
                _add(tar, f"{root.name}/{row['image']}", _small(root / row["image"], longest, quality))
                _add(tar, f"{root.name}/{row['mask']}", _small(root / row["mask"], longest, None))
            count += len(rows)
        model, manifest = load_checkpoint(*resolve(base))
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "base.safetensors"
            save_checkpoint(model, manifest, weights, half=True)
            tar.add(weights, "base.safetensors")
    if out.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{out} has {out.stat().st_size:,} bytes; {MOST_BYTES:,} at most; pass --longest or --quality")
    return count


def _small(path: Path, longest: int, quality: int | None) -> bytes:
    """A picture as JPEG, or without a quality a label map as PNG, no longer than that."""
    held = io.BytesIO()
    with Picture.open(path) as picture:
        share = min(1.0, longest / max(picture.size))
        size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
        way = Picture.Resampling.NEAREST if quality is None else Picture.Resampling.BOX
        small = picture.resize(size, way)
        if quality is None:
            small.save(held, "PNG")
        else:
            small.save(held, "JPEG", quality=quality)
    return held.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", default="lite-medsam")
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--quality", type=int, default=45)
    given = parser.parse_args()
    packed = pack(given.collection, given.out, given.base, longest=given.longest, quality=given.quality)
    print(f"{given.out}: {packed} pictures, {given.out.stat().st_size:,} bytes")
