"""Whether the disks have room for all that a run writes, asked before its first step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medsam.errors import OutputError


@dataclass(frozen=True)
class Need:
    """What will be written to a folder.

    Args:
        folder: Need not be there yet.
        size: Bytes.
        what: In words, with its plural or article.
    """

    folder: Path
    size: int
    what: str


def check_room(needs: Sequence[Need]) -> None:
    """Hold what will be written against the free space of each disk.

    Raises:
        OutputError: it would not fit.
    """
    disks: dict[int, list[Need]] = {}
    for need in needs:
        disks.setdefault(_existing(need.folder).stat().st_dev, []).append(need)
    for together in disks.values():
        folder = together[0].folder
        disk = shutil.disk_usage(_existing(folder))
        wanted = sum(need.size for need in together)
        if disk.total and disk.free < wanted:  # some network disks do not say how large they are
            parts = " and ".join(f"{need.size / 1e6:,.0f} MB for {need.what}" for need in together if need.size)
            raise OutputError(
                f"{folder} has {disk.free / 1e6:,.0f} MB free",
                expected=parts,
                fix="free space, or choose another -o" + (" or cache_folder" if len(needs) > 1 else ""),
            )


def measure_size(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file())


def _existing(folder: Path) -> Path:
    return next(one for one in [folder, *folder.absolute().parents] if one.is_dir())
