"""What a study trains, without training it; tests/cli/test_study.py trains."""

from __future__ import annotations

from pathlib import Path

import pytest

from medsam.errors import DataError
from medsam.jobs.study_recipe import StudyModel
from medsam.jobs.study_training import TrainingShard, find_class, list_shards, tabulate_training, train_shard


def test_specialists_are_one_of_each_modality_and_a_recipe_is_one_model(tmp_path):
    whole = TrainingShard(StudyModel("unet", network="unet"), ("a",), "train", tmp_path)
    assert [(one.folder.name, one.modality) for one in list_shards(whole, ["CT", "MR"])] == [("CT", "CT"), ("MR", "MR")]
    ours = TrainingShard(StudyModel("ours", recipe="r.toml"), ("a",), "train", tmp_path)
    assert list_shards(ours, ["CT", "MR"]) == [ours]


def test_what_is_trained_is_not_trained_again(tmp_path):
    shard = TrainingShard(StudyModel("unet", network="unet"), ("nowhere",), "train", tmp_path)
    assert not shard.is_done
    with pytest.raises(DataError, match="nowhere"):
        train_shard(shard)
    (tmp_path / "model.safetensors").touch()
    assert train_shard(shard)
    assert tabulate_training([]).rows == ()


def test_a_target_is_found_by_its_name(tmp_path):
    (tmp_path / "index.csv").write_text("image,mask,group,mask_kind,split\na.png,b.png,p,labels,train\n")
    for labels, name, found in (("1,liver\n2,spleen\n", "spleen", "2"), ("1,liver\n2,liver\n", "liver", "")):
        (tmp_path / "labels.csv").write_text(f"label,name\n{labels}")
        assert find_class(Path(tmp_path), name) == found
    with pytest.raises(DataError, match="0 classes"):
        find_class(Path(tmp_path), "kidney")
