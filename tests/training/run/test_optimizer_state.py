"""The optimizer in a checkpoint comes back as it was, and parts that other processes wrote elsewhere are missed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import CONFIG, loss_of, tiny_model
from torch.distributed.checkpoint.state_dict_saver import save

from medsam.errors import CheckpointError, OutputError
from medsam.models.networks.medsam import MedSAM
from medsam.training.learner.optimizer import make_optimizer
from medsam.training.learner.trainable import list_trainable, set_trainable
from medsam.training.run.distributed import Processes
from medsam.training.run.optimizer_state import FOLDER, check_written, read, write

Learnt = tuple[MedSAM, torch.optim.Optimizer]
ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def learnt(discs: Path) -> Learnt:
    """A model and its optimizer after one step."""
    model, optimizer = fresh()
    loss_of(model, discs, CONFIG).sum().backward()
    optimizer.step()
    return model, optimizer


def states(model: MedSAM, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": torch.as_tensor(value)
        for name, parameter in list_trainable(model).items()
        for key, value in optimizer.state[parameter].items()
    }


def fresh(encoder: str = "full") -> Learnt:
    config = replace(CONFIG, encoder=encoder)
    model = set_trainable(tiny_model(), config)
    return model, make_optimizer(model, config)


@pytest.mark.parametrize("divided", [False, True])
def test_the_state_comes_back_from_one_file_and_from_parts(learnt: Learnt, tmp_path: Path, divided: bool) -> None:
    if divided:  # as several processes write it
        save(states(*learnt), checkpoint_id=tmp_path / FOLDER)
    else:
        write(tmp_path, *learnt, ALONE)
    check_written(tmp_path)
    again = fresh()
    read(tmp_path, *again)
    wanted, found = states(*learnt), states(*again)
    assert wanted.keys() == found.keys()
    assert len(wanted) > 100
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_the_state_of_other_parameters_is_refused(learnt: Learnt, tmp_path: Path) -> None:
    save(states(*learnt), checkpoint_id=tmp_path / FOLDER)
    with pytest.raises(CheckpointError, match="resume with the same configuration"):
        read(tmp_path, *fresh("frozen"))


def test_parts_on_disks_of_other_nodes_are_missed(learnt: Learnt, tmp_path: Path) -> None:
    save(states(*learnt), checkpoint_id=tmp_path / FOLDER)
    next((tmp_path / FOLDER).glob("*.distcp")).unlink()
    with pytest.raises(OutputError, match=r"lacks .*distcp, which other processes wrote"):
        check_written(tmp_path)
