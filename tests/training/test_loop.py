"""The loop: it learns what it says, stops and goes on exactly, and is the same on any number of processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

sys.path.append(str(Path(__file__).parent))
from tiny import CONFIG, MANIFEST, TOLD, source, tiny_model, train

from medsam.errors import CheckpointError, DataError, MissingDependencyError, OutputError
from medsam.models.medsam import MedSAM
from medsam.training import checkpoint_run
from medsam.training.config import TrainConfig
from medsam.training.dataset import Draws, join
from medsam.training.monitor import draw, read_metrics
from medsam.training.objective import Objective
from medsam.training.parts import Average, learning, plain, prepare

SCRIPT = Path(__file__).with_name("tiny.py")


@contextmanager
def begun(*launcher: str, arguments: tuple[object, ...]) -> Iterator[subprocess.Popen[str]]:
    """Tiny.py, where processes are killed and told to end, in a session of its own: no signal reaches pytest."""
    script = subprocess.Popen(
        [*launcher, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield script
    finally:
        with suppress(ProcessLookupError):
            os.killpg(script.pid, signal.SIGKILL)  # with its children, who may wait for each other
        script.wait()


def run_script(*arguments: object) -> str:
    with begun(sys.executable, "-X", "faulthandler", arguments=arguments) as script:
        said, wrong = script.communicate(timeout=400)
    assert script.returncode == 0, f"ended with {script.returncode}\n{said}{wrong}"
    return said


def weights(run: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    return load_file(run / name)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def losses(run: Path) -> list[float]:
    return [float(str(line["loss"])) for line in read_metrics(run) if "loss" in line]


def loss_of(model: MedSAM, discs: Path, config: TrainConfig, count: int = 4) -> torch.Tensor:
    draws = Draws(source(discs, "train"), MANIFEST, config)
    return Objective(model, config)(join([draws[d] for d in range(count)]))


def test_a_run_learns_and_leaves_a_model_with_card_curves_and_metrics(discs: Path, tmp_path: Path) -> None:
    outcome = train(discs, tmp_path / "run", replace(CONFIG, epochs=8))
    assert (outcome.finished, outcome.progress.step, outcome.total) == (True, 18, 18)
    found = losses(tmp_path / "run")
    assert sum(found[-3:]) < 0.9 * sum(found[:3])
    card = (tmp_path / "run/README.md").read_text()
    assert "| discs | unknown | not stated | 9 |" in card
    assert "| global_batch | 160 | 4 |" in card
    measured = [line["step"] for line in read_metrics(tmp_path / "run") if "tune_dice" in line]
    assert measured == [0, 4, 8, 12, 16, 18]
    assert (tmp_path / "run/curve.png").stat().st_size > 10_000
    assert [p.name for p in checkpoint_run.checkpoints(tmp_path / "run")] == ["step-00000016", "step-00000018"]
    draw({"a": tmp_path / "run", "b": tmp_path / "run"}, tmp_path / "both.png")
    # a finished run that is resumed changes nothing
    before = weights(tmp_path / "run")
    train(discs, tmp_path / "run", replace(CONFIG, epochs=8), resume=True)
    assert same(weights(tmp_path / "run"), before)
    # and is not overwritten
    with pytest.raises(DataError, match="has a run already"):
        train(discs, tmp_path / "run")
    with pytest.raises(DataError, match=r"learning_rate 0\.002 -> 0\.1"):
        train(discs, tmp_path / "run", replace(CONFIG, epochs=8, learning_rate=0.1), resume=True)


def test_micro_batches_add_up_to_the_global_batch(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1)
    for micro in (1, 4):
        train(discs, tmp_path / f"{micro}", replace(config, micro_batch=micro))
    one, four = losses(tmp_path / "1"), losses(tmp_path / "4")
    assert max(abs(a - b) for a, b in zip(one, four, strict=True)) < 1e-5


def test_a_step_is_the_papers_equations(discs: Path, tmp_path: Path) -> None:
    """One step of ours against Eq. 1 to 3 and AdamW written out, on the prompts and masks of the same draws."""
    train(discs, tmp_path / "run", replace(CONFIG, epochs=1, global_batch=9, validate_every=9))
    draws = Draws(source(discs, "train"), MANIFEST, CONFIG)
    model = tiny_model()
    total = torch.zeros(())
    for batch in (draws[d] for d in range(9)):
        features = model.image_encoder(batch.image_B3SS)
        logits, _ = model.decode(features, batch.boxes_T4)
        s = torch.sigmoid(F.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False))
        [(height, width)] = batch.inner  # the rest of the frame is padding
        s = s[0, 0, :height, :width].flatten()
        g = batch.masks_TSS[0, :height, :width].flatten().float()
        bce = -(g * s.log() + (1 - g) * (1 - s).log()).sum() / len(s)  # Eq. 1
        overlap = 1 - 2 * (g * s).sum() / ((g**2).sum() + (s**2).sum())  # Eq. 2
        total = total + (bce + overlap) / 9  # Eq. 3
    total.backward()
    assert losses(tmp_path / "run")[0] == pytest.approx(total.item(), abs=1e-6)
    trained, learnt = weights(tmp_path / "run"), 0
    for name, parameter in model.named_parameters():
        if name.startswith("prompt_encoder."):
            assert torch.equal(parameter, trained[name])
            continue
        g = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        # first step of AdamW: both moments corrected for their start are g and g squared
        updated = parameter.detach() * (1 - 2e-3 * 0.01) - 2e-3 * g / (g.abs() + 1e-8)
        clear = g.abs() > 1e-6  # elsewhere the sign of rounding decides
        learnt += int(clear.sum())
        assert (updated - trained[name])[clear].abs().max().item() < 1e-6 if clear.any() else True
    assert learnt > 5000


def goes_on_after(how: str, kills: int, seed: int, discs: Path, run: Path) -> None:
    run.mkdir()
    said = run_script(how, run, kills, seed, discs)
    assert said.count("killed") >= 2, said  # how many come before the end, and into a save, is chance
    assert same(weights(run / "killed"), weights(run / "whole"))
    assert losses(run / "killed") == losses(run / "whole")
    assert not list((run / "killed/checkpoints").glob(".*"))


@pytest.mark.integration
def test_killed_21_times_at_any_step_and_in_mid_save_it_goes_on_bit_by_bit(discs: Path, tmp_path: Path) -> None:
    for seed in range(3):
        goes_on_after("killed", 7, seed, discs, tmp_path / f"{seed}")


@pytest.mark.integration
@pytest.mark.parametrize("how", ["killed-ddp", "killed-fsdp"])
def test_killed_with_several_processes_it_goes_on_bit_by_bit(discs: Path, tmp_path: Path, how: str) -> None:
    goes_on_after(how, 6, 3, discs, tmp_path / how)


@pytest.mark.integration
def test_processes_are_as_one_whole_or_divided_and_go_on_from_each_other(discs: Path, tmp_path: Path) -> None:
    run_script("together", tmp_path, 0, 0, discs)
    one = losses(tmp_path / "one")
    assert len(one) == 3
    sheets = [(tmp_path / name / "examples/step-00000000.png").read_bytes() for name in ("one", "ddp", "fsdp")]
    assert sheets[0] == sheets[1] == sheets[2]  # each process drew its share
    names = ("ddp", "fsdp", "one-ddp", "one-fsdp", "ddp-one", "fsdp-one", "ddp-fsdp")
    for name in names:
        assert max(abs(a - b) for a, b in zip(one, losses(tmp_path / name), strict=True)) < 1e-5, name
        ours = weights(tmp_path / name)
        assert ours.keys() == weights(tmp_path / "one").keys()
        # rounding decides the sign of AdamW's update where a gradient is nothing; most weights agree to float rounding
        off = [(ours[key] - tensor).abs().flatten() for key, tensor in weights(tmp_path / "one").items()]
        assert torch.cat(off).median() < 1e-6, name
    assert not list((tmp_path / "one/checkpoints").glob("*/optimizer"))
    for name in ("ddp", "fsdp"):
        last = checkpoint_run.checkpoints(tmp_path / name)[-1]
        assert json.loads((last / "state.json").read_text())["sha256"].keys() >= {
            "optimizer/.metadata",
            "weights.safetensors",
        }
        assert len(list(last.glob("optimizer/*.distcp"))) == 2


@pytest.mark.integration
@pytest.mark.parametrize("how", ["told", "ctrl-c", "ctrl-c-and-torchrun"])
def test_who_is_told_to_stop_saves_and_goes_on(discs: Path, tmp_path: Path, how: str) -> None:
    assert run_script(how, tmp_path, 0, 0, discs) == "4 False True\n"
    assert [p.name for p in checkpoint_run.checkpoints(tmp_path / "run")] == ["step-00000004"]
    assert train(discs, tmp_path / "run", TOLD, resume=True).finished
    train(discs, tmp_path / "whole", TOLD)
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


@contextmanager
def long_run(discs: Path, folder: Path, *launcher: str) -> Iterator[subprocess.Popen[str]]:
    """A run with loader processes that has done three steps and would go on for long, in a group of its own."""
    with begun(*launcher, arguments=("long", folder, 0, 0, discs)) as script:
        deadline = time.monotonic() + 120
        while len(losses(folder / "run")) < 3 and time.monotonic() < deadline and script.poll() is None:
            time.sleep(0.05)
        yield script


@pytest.mark.integration
@pytest.mark.parametrize("whom", ["torchrun", "all of the group", "all of the group, by Ctrl-C"])
def test_a_run_with_loader_processes_saves_whoever_is_told_to_end(discs: Path, tmp_path: Path, whom: str) -> None:
    many = (str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc-per-node", "2")
    with long_run(discs, tmp_path, *(many if whom == "torchrun" else (sys.executable,))) as script:
        if whom == "torchrun":
            script.terminate()
        else:
            os.killpg(script.pid, signal.SIGINT if "Ctrl-C" in whom else signal.SIGTERM)
        said, wrong = script.communicate(timeout=120)
    assert said.count("False") == (2 if whom == "torchrun" else 1), said + wrong  # not finished
    assert "DataLoader worker" not in wrong
    steps = len(losses(tmp_path / "run"))
    assert steps >= 3
    assert [one.name for one in checkpoint_run.checkpoints(tmp_path / "run")] == [f"step-{steps:08d}"]


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere loader processes notice by themselves, later")
def test_loader_processes_leave_with_a_run_that_is_killed(discs: Path, tmp_path: Path) -> None:
    with long_run(discs, tmp_path, sys.executable) as script:
        children = Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()
        assert len(children) >= 2
        script.kill()
        script.wait()
        deadline = time.monotonic() + 10
        while any(alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(alive(child) for child in children)


def alive(process: str) -> bool:
    """Whether it runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.integration
def test_a_second_ctrl_c_ends_at_once(discs: Path, tmp_path: Path) -> None:
    assert run_script("ctrl-c-twice", tmp_path, 0, 0, discs) == "interrupted True\n"
    assert not checkpoint_run.checkpoints(tmp_path / "run")


def test_a_damaged_checkpoint_is_passed_over(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run")
    before = weights(tmp_path / "run")
    latest = checkpoint_run.checkpoints(tmp_path / "run")[-1] / "optimizer.pt"
    latest.write_bytes(latest.read_bytes()[:-5])
    train(discs, tmp_path / "run", resume=True)
    assert same(weights(tmp_path / "run"), before)
    for folder in checkpoint_run.checkpoints(tmp_path / "run"):
        (folder / "weights.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 2 checkpoints"):
        train(discs, tmp_path / "run", resume=True)


def test_a_checkpoint_of_other_parts_is_refused(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run")
    adapted = replace(CONFIG, encoder="lora")
    (tmp_path / "run/config.json").write_text(adapted.to_json())
    with pytest.raises(CheckpointError, match="does not fit the model"):
        train(discs, tmp_path / "run", adapted, resume=True)


def test_a_full_disk_in_mid_save_leaves_the_checkpoints_before(
    discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = torch.save
    calls = []

    def full(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        saved(*arguments)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="No space left"):
        train(discs, tmp_path / "run")
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000002"]
    train(discs, tmp_path / "run", resume=True)


def test_ten_losses_in_a_row_that_are_not_finite_stop_the_run_with_the_samples(discs: Path, tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.mask_decoder.output_upscaling[0].bias.fill_(float("nan"))
    before = {name: one.clone() for name, one in model.state_dict().items()}
    with pytest.raises(DataError, match=r"10 steps in a row, the last at step 10 \(samples: .*\.png"):
        train(discs, tmp_path / "run", replace(CONFIG, epochs=20, validate_every=99), model=model)
    assert all(torch.equal(torch.nan_to_num(before[n]), torch.nan_to_num(t)) for n, t in model.state_dict().items())
    assert [line["loss"] for line in read_metrics(tmp_path / "run") if "loss" in line] == [None] * 9


@pytest.mark.parametrize("encoder", ["full", "frozen", "lora"])
def test_only_the_parts_that_should_learn_change(discs: Path, tmp_path: Path, encoder: str) -> None:
    config = replace(CONFIG, epochs=1, encoder=encoder, lora_rank=2, cache_embeddings=encoder == "frozen")  # type: ignore[arg-type]
    train(discs, tmp_path / "run", config)
    start, end = tiny_model().state_dict(), weights(tmp_path / "run")
    assert start.keys() == end.keys()  # low-rank updates are folded in
    changed = {name for name in start if not torch.equal(start[name], end[name])}
    assert not any(name.startswith("prompt_encoder") for name in changed)
    assert not any("iou_prediction_head" in name or "running_" in name for name in changed)
    assert any(name.startswith("mask_decoder") for name in changed)
    touched = {name for name in changed if name.startswith("image_encoder")}
    if encoder == "frozen":
        assert not touched
        assert len(list((tmp_path / "run/embeddings").rglob("*.embedding"))) == 12
    elif encoder == "lora":
        assert touched
        assert all(name.endswith(("qkv.weight", "proj.weight")) for name in touched)
    else:
        assert any("patch_embed" in name for name in touched)


def test_embeddings_encoded_once_change_nothing(discs: Path, tmp_path: Path) -> None:
    for cached in (False, True):
        train(discs, tmp_path / f"{cached}", replace(CONFIG, encoder="frozen", cache_embeddings=cached))
    with_, without = losses(tmp_path / "True"), losses(tmp_path / "False")
    assert max(abs(a - b) for a, b in zip(with_, without, strict=True)) < 1e-5


def test_low_rank_updates_begin_with_nothing_and_fold_in_exactly(discs: Path) -> None:
    image = torch.randn(1, 3, 64, 64)
    model = tiny_model()
    with torch.no_grad():
        before = model.encode(image)
        prepare(model, replace(CONFIG, encoder="lora", lora_rank=2))
        assert torch.equal(model.encode(image), before)
        for name, parameter in learning(model).items():
            if name.endswith(".up"):
                parameter.normal_()
        assert not torch.allclose(model.encode(image), before)
        assert torch.equal(plain(model).encode(image), model.encode(image))


def test_computing_blocks_twice_gives_the_same_gradients(discs: Path) -> None:
    gradients, passes = [], []
    for twice in (False, True):
        config = replace(CONFIG, checkpoint_activations=twice)
        model = prepare(tiny_model(), config)
        called = []
        model.image_encoder.layers[1].blocks[0].attn.norm.register_forward_hook(
            lambda *_, called=called: called.append(1)
        )
        loss_of(model, discs, config).sum().backward()
        gradients.append({n: p.grad for n, p in learning(model).items() if p.grad is not None})
        passes.append(len(called))
    assert passes == [1, 2]
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        assert torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6)


@pytest.mark.integration  # half a minute of compiling
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile calls a compiler of C++")
def test_compiled_blocks_give_the_same_gradients_and_the_same_file(discs: Path, tmp_path: Path) -> None:
    assert run_script("compiled", tmp_path, 0, 0, discs) == "compiled\n"


def test_compiling_without_a_compiler_is_refused(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(MissingDependencyError, match=r"there is no (g|clang)\+\+"):
        train(discs, tmp_path / "run", replace(CONFIG, compile=True))
    assert not (tmp_path / "run").exists()


def test_the_quality_head_learns_when_it_has_a_weight(discs: Path, tmp_path: Path) -> None:
    train(discs, tmp_path / "run", replace(CONFIG, epochs=1, quality_weight=1.0))
    start, end = tiny_model().state_dict(), weights(tmp_path / "run")
    assert not torch.equal(
        start["mask_decoder.iou_prediction_head.layers.2.weight"],
        end["mask_decoder.iou_prediction_head.layers.2.weight"],
    )


def test_several_targets_on_one_embedding_give_the_mean_of_their_losses(discs: Path) -> None:
    config = replace(CONFIG, prompts_per_image=2)
    model = prepare(tiny_model(), config)
    draws = Draws(source(discs, "train"), MANIFEST, config)
    together = [draws[d] for d in range(4)]
    objective = Objective(model, config)
    joined, alone = objective(join(together)), torch.cat([objective(one) for one in together])
    assert torch.allclose(joined, alone, atol=1e-5)


def test_half_precision_gives_nearly_the_same_loss(discs: Path) -> None:
    model = prepare(tiny_model(), CONFIG)
    full = loss_of(model, discs, CONFIG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss_of(model, discs, CONFIG)
    assert half.dtype == torch.float32
    assert torch.allclose(full, half, rtol=0.05)


def test_the_average_by_hand() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = Average(model, 0.5)
    model.weight.data.fill_(3.0)
    average.update(model, 0)  # decay min(0.5, 1 / 10)
    assert average.values["weight"].item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    with average.applied(model):
        assert model.weight.item() == pytest.approx(2.8)
    assert model.weight.item() == 3.0


def test_an_averaged_run_goes_on_exactly(discs: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, average=0.9)
    train(discs, tmp_path / "whole", config)
    train(discs, tmp_path / "cut", config)
    last = checkpoint_run.checkpoints(tmp_path / "cut")[-1]
    (last / "state.json").write_text(json.dumps({"format": 0}))
    train(discs, tmp_path / "cut", config, resume=True)
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert not same(weights(tmp_path / "whole"), weights(last, "weights.safetensors"))
