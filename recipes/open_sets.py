"""Lay out the pictures whose licence allows commercial use, one folder a source, for openmedsam-lite-open.

    python recipes/open_sets.py ../shared/data/slices out/open

Writes index.csv files that name the pictures where they are, with the licence of each in a column of its own. What is not
listed here is non-commercial, for research, or unclear, and is never read by recipes/open_features.py.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

# folder of the collection, first word of a file's name ("" takes all), folder written, licence as its publisher states it
SOURCES = (
    ("micro_dsb2018", "", "micro_dsb2018", "CC0"),
    ("mammo_cesm", "", "mammo_cesm", "CC BY 4.0"),
    ("us_mixed", "usliver", "us_liver", "CC BY 4.0"),
    ("us_mixed", "fetalhead", "us_fetalhead", "CC BY 4.0"),
    ("us_mixed", "cca", "us_carotid", "CC BY 4.0"),
    ("ct_mixed", "aorta", "ct_aorta", "CC BY 4.0"),
    ("ct_mixed", "ich", "ct_ich", "CC BY 4.0"),
    ("ct_mixed", "sich", "ct_sich", "CC BY-SA 4.0"),
    ("ct_mixed", "spleen", "ct_spleen", "CC BY-SA 4.0"),
    ("ct_mixed", "lungtumor", "ct_lungtumor", "CC BY-SA 4.0"),
    ("mr_mixed", "msdhipp", "mr_hippocampus", "CC BY-SA 4.0"),
)


def write_open_sets(collection: Path, out: Path) -> dict[str, int]:
    """Write one folder with index.csv for each source; gives its number of pictures."""
    counts = {}
    for folder, word, name, licence in SOURCES:
        root = (collection / folder).resolve()
        with (root / "index.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if not word or first_word(row["image"]) == word]
        (out / name).mkdir(parents=True, exist_ok=True)
        with (out / name / "index.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*rows[0], "licence"])
            writer.writeheader()
            for row in rows:
                paths = {key: str(root / row[key]) for key in ("image", "mask")}
                writer.writerow({**row, **paths, "licence": licence})
        counts[name] = len(rows)
    return counts


def first_word(image: str) -> str:
    """The source of a picture of a mixed set, which its name begins with."""
    return Path(image).stem.split("_")[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("collection", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    for name, count in write_open_sets(arguments.collection, arguments.out).items():
        print(f"{name}\t{count}")
