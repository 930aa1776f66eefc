"""What a run says: lines with the time left, TensorBoard by switch, pictures of every measurement."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

sys.path.append(str(Path(__file__).parent))
from tiny import CONFIG, train

from medsam.errors import MissingDependencyError
from medsam.imaging.overlay import BOX_COLOR
from medsam.training import checkpoint_run, monitor
from medsam.training.examples import EXPERT, FOUND, MOST_PX, chosen_examples, draw_example
from medsam.training.monitor import Monitor, Pace, read_metrics
from medsam.training.sources import Slice, Unit


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    read.Reload()
    found = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    return found | {tag: [(e.step, e.width) for e in read.Images(tag)] for tag in read.Tags()["images"]}


def test_the_time_left_by_hand() -> None:
    pace = Pace(100)
    assert pace.left(10, 50.0) == "time left unknown"
    assert pace.left(12, 60.0) == "7 min 20 s left"  # 5 seconds a step, 88 steps
    assert pace.left(13, 260.0) == "1 h 41 min left"  # 70 a step, 87 steps: 6,090 seconds
    assert pace.left(100, 300.0) == "0 min 00 s left"


def test_without_a_terminal_lines_say_loss_speed_memory_and_time_left(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "LINE_SECONDS", 0.0)
    train(discs, tmp_path / "run")
    said = capsys.readouterr().err.splitlines()
    steps = [line for line in said if line.startswith("step 3/5 ")]
    assert len(steps) == 1
    assert all(word in steps[0] for word in ("loss 1.", "samples/s", "MiB", "min", "left"))
    assert [line.split(":")[0] for line in said if "on the tuning split" in line] == ["step 0", "step 4", "step 5"]


def test_a_process_that_does_not_speak_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Monitor(tmp_path / "run", total=1, step=0, speaks=False, board=True) as quiet:
        quiet.write({"step": 1, "loss": 1.0})
        quiet.picture("examples", 1, np.zeros((8, 8, 3), np.uint8))
        quiet.show(1, "loss 1")
        quiet.flush()
    assert not (tmp_path / "run").exists()
    assert capsys.readouterr() == ("", "")


def test_tensorboard_has_every_step_once_when_a_run_goes_on(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, tensorboard=True, epochs=4)
    train(discs, tmp_path / "run", config)
    last = checkpoint_run.checkpoints(tmp_path / "run")[-1]
    (last / "state.json").unlink()  # as after a kill: steps beyond the checkpoint before come again
    train(discs, tmp_path / "run", config, resume=True)
    found, lines = scalars(tmp_path / "run"), read_metrics(tmp_path / "run")
    assert [step for step, _ in found["loss"]] == list(range(1, 10))
    losses = [float(str(line["loss"])) for line in lines if "loss" in line]
    assert [value for _, value in found["loss"]] == pytest.approx(losses)
    assert {"learning_rate", "gradient_norm", "samples_per_second", "memory_mib"} <= found.keys()
    assert [step for step, _ in found["tune_dice_by_modality/unknown"]] == [0, 4, 8, 9]
    assert [step for step, _ in found["examples"]] == [0, 4, 8, 9]


def test_tensorboard_that_is_not_there_is_refused_before_anything_is_written(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # type: ignore[arg-type]
    with pytest.raises(MissingDependencyError, match=r"pip install \"openmedsam\[tracking\]\""):
        train(discs, tmp_path / "run", replace(CONFIG, tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_every_measurement_leaves_the_same_samples_as_a_picture(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run", replace(CONFIG, examples=2))
    sheets = sorted((tmp_path / "run/examples").iterdir())
    assert [sheet.name for sheet in sheets] == ["step-00000000.png", "step-00000004.png", "step-00000005.png"]
    first, last = (np.asarray(Picture.open(sheet)).astype(int) for sheet in (sheets[0], sheets[-1]))
    assert first.shape == last.shape == (384 + 32, 2 * 384, 3)
    assert (first != last).any()  # the model has learnt
    assert (np.abs(first - last).max(axis=2) > 40).mean() < 0.2  # on the same pictures
    train(discs, tmp_path / "none", replace(CONFIG, examples=0))
    assert not (tmp_path / "none/examples").exists()


def test_expert_model_and_box_have_their_colors() -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    expert, found = np.zeros((2, 64, 64), bool)
    expert[10:30, 10:30], found[35:50, 35:50] = True, True
    picture = draw_example(pixels, [expert], [found], boxes=[(5.0, 5.0, 55.0, 55.0)], caption="")
    assert picture.shape == (512, 512, 3)
    assert tuple(picture[10 * 8, 20 * 8]) == EXPERT
    assert tuple(picture[35 * 8, 42 * 8]) == FOUND
    assert tuple(picture[5 * 8 + 4, 30 * 8]) == BOX_COLOR
    small = draw_example(np.zeros((900, 900, 3), np.uint8), [], [], boxes=[(400.0, 300.0, 431.0, 331.0)], caption="")
    assert small.shape == (80 * 7, 80 * 7, 3)  # 32 pixels of the box and 24 around, enlarged
    assert tuple(small[24 * 7 + 3, 40 * 7]) == BOX_COLOR
    large = draw_example(np.zeros((2000, 10, 3), np.uint8), [np.ones((2000, 10), bool)], [], boxes=[], caption="")
    assert MOST_PX >= len(large) > MOST_PX // 2


class Named:
    """A source of names alone."""

    def __init__(self, *kinds: tuple[str, str]) -> None:
        self.kinds = kinds
        self.pictures = len(kinds)

    def __len__(self) -> int:
        return len(self.kinds)

    def unit(self, number: int) -> Unit:
        modality, dataset = self.kinds[number]
        return Unit(str(number), dataset, modality, "CC0")

    def read(self, number: int) -> Slice:
        raise AssertionError(number)


def test_examples_take_modalities_in_turn_and_in_each_its_data_sets() -> None:
    kinds = [("CT", "liver")] * 50 + [("CT", "lung")] * 3 + [("MR", "heart")] * 10 + [("OCT", "eye")]
    chosen = chosen_examples(Named(*kinds), range(64), 8)
    assert Counter(kinds[i] for i in chosen) == {
        ("CT", "liver"): 2,
        ("CT", "lung"): 2,
        ("MR", "heart"): 3,
        ("OCT", "eye"): 1,
    }
    assert chosen == chosen_examples(Named(*kinds), range(64), 8)
    assert set(chosen_examples(Named(*kinds), range(40, 60), 3)) < set(range(40, 60))
    assert chosen_examples(Named(*kinds), range(64), 0) == []
