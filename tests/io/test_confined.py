"""A hostile file ends a process of its own and nothing else."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medsam.errors import InputFileError
from medsam.io.confined import check_confined


def test_a_good_file_passes_and_a_broken_one_is_told_by_its_name_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), path)
    check_confined(path, memory_bytes=2 << 30, seconds=60)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputFileError, match=r"^a\.nii\.gz"):
        check_confined(path, memory_bytes=2 << 30, seconds=60)


def test_a_file_that_unfolds_beyond_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.nii.gz"
    header = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).header.binaryblock)
    struct.pack_into("<4h", header, 40, 3, 900, 900, 900)
    struct.pack_into("<f", header, 108, 352)
    path.write_bytes(gzip.compress(bytes(header) + b"\0" * 4 + b"\0" * 900**3, 1))
    with pytest.raises(InputFileError, match="memory"):
        check_confined(path, memory_bytes=500 << 20, seconds=60)
