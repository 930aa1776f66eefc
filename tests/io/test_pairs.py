"""Files of two folders paired by their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import DataError
from medsam.io.pairs import list_unpaired, pair_files


def test_what_is_part_of_no_pair_is_named_and_a_folder_is_one(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for name in ("a", "b"):
            (tmp_path / folder / f"{name}.png").touch()
    (tmp_path / "images/notes.txt").write_text("x")
    (tmp_path / "images/.hidden").write_text("x")
    (tmp_path / "images/scan.v2").mkdir()
    (tmp_path / "masks/scan.v2.png").touch()
    (tmp_path / "masks/c.png").touch()
    pairs = pair_files(tmp_path / "images", tmp_path / "masks")
    assert [name for name, _, _ in pairs] == ["a", "b", "scan.v2"]
    assert list_unpaired(tmp_path / "images", tmp_path / "masks") == [
        f"{tmp_path}/images/notes.txt has a suffix that no reader knows",
        f"{tmp_path}/masks/c.png has no image in {tmp_path}/images",
    ]


def test_two_files_of_one_name_and_a_missing_mask_are_refused(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.png").touch()
    (tmp_path / "images/a.jpg").touch()
    with pytest.raises(DataError, match="one file a case"):
        pair_files(tmp_path / "images", tmp_path / "masks")
    (tmp_path / "images/a.jpg").rename(tmp_path / "images/b.jpg")
    with pytest.raises(DataError, match="no mask in"):
        pair_files(tmp_path / "images", tmp_path / "masks")
    with pytest.raises(DataError, match="is no folder"):
        pair_files(tmp_path / "none", tmp_path / "masks")
