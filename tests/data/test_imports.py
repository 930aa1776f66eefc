"""Trees of MedSAM's pre-processing into a store."""

from __future__ import annotations

import numpy as np
import pytest

from medsam.data.export import export
from medsam.data.imports import import_tree
from medsam.data.store.reading import Store
from medsam.errors import DataError


def test_a_medsam_npy_tree_comes_back_in(nested_store, tmp_path):
    export(nested_store, tmp_path / "out", "medsam-npy")
    report = import_tree(tmp_path / "out", tmp_path / "again", name="old", modality="dermoscopy", licence="CC0")
    assert report.clean
    assert report.counts["old"].summary.pairs_kept == 4
    again = Store(tmp_path / "again")
    assert again.pair(0)[0].shape == (1024, 1024, 3)
    wanted = sorted(int(a) for a in nested_store.catalogue["area_px"].to_pylist())
    scale = 1024 * 1024 / (64 * 80)
    assert sorted(a / scale for a in again.catalogue["area_px"].to_pylist()) == pytest.approx(wanted, rel=0.02)


def test_a_tree_of_case_npz_comes_in(making, tmp_path):
    (tmp_path / "tree").mkdir()
    values = np.stack([making.picture(z) for z in range(12)])
    np.savez_compressed(
        tmp_path / "tree" / "CT_Abd_x.npz", imgs=values, gts=making.ball(), spacing=np.array([0.8, 0.8, 2.5])
    )
    report = import_tree(tmp_path / "tree", tmp_path / "s", name="old", modality="CT", licence="CC0")
    store = Store(tmp_path / "s")
    assert report.counts["old"].summary.pairs_kept == 8
    np.testing.assert_array_equal(store.pair(0)[0][..., 0], values[2])
    with pytest.raises(DataError, match="neither"):
        import_tree(tmp_path, tmp_path / "s", name="old2", modality="CT", licence="CC0")
