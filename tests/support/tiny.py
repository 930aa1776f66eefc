"""A model small enough to train in seconds, pictures of discs, and a run of both; as a script, runs to be killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Picture

from medsam.errors import InputFileError
from medsam.evaluation.index import read_index
from medsam.models.networks.image_encoder import ImageEncoder
from medsam.models.networks.mask_decoder import MaskDecoder
from medsam.models.networks.medsam import MedSAM
from medsam.models.networks.prompt_encoder import PromptEncoder
from medsam.models.networks.tiny_vit import TinyViT
from medsam.models.weights.manifest import Manifest
from medsam.progress import StepProgress
from medsam.training.config import TrainConfig
from medsam.training.learner.low_rank import fold_updates
from medsam.training.learner.objective import Objective
from medsam.training.learner.trainable import list_trainable, set_trainable
from medsam.training.run.build import build_learner, build_run
from medsam.training.run.distributed import Processes
from medsam.training.run.loop import LEAVING, fit
from medsam.training.run.monitor import read_metrics
from medsam.training.run.state import RunOutcome, TrainingRun
from medsam.training.samples.dataset import Draws, join_batches
from medsam.training.samples.sources import PictureSource, SampleSource, TrainingSlice, Unit

MANIFEST = Manifest(
    name="tiny", architecture="tiny_vit", frame_size=64, fit="pad", interpolation="area", upsample="logits"
)
CONFIG = TrainConfig(
    name="tiny", data=("discs",), base="none", like="", epochs=2, global_batch=4, micro_batch=2, learning_rate=2e-3,
    workers=0, save_every=2, validate_every=4, validation_images=3, precision="fp32",
)  # fmt: skip

TOLD = replace(CONFIG, epochs=4, save_every=100)

PROMPTED = replace(
    CONFIG, prompts=("box", "point", "mask"), clicks=3, prompts_per_image=2, corrections=1, prompt_encoder="full"
)


def tiny_model(seed: int = 0) -> MedSAM:
    torch.manual_seed(seed)
    encoder = TinyViT(
        widths=(8, 8, 16, 16), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), windows=(4, 4, 4, 4), image_size=64,
        out_channels=32,
    )  # fmt: skip
    prompts = PromptEncoder(image_size=64, grid=8, channels=32)
    return MedSAM(encoder, prompts, MaskDecoder(channels=32, heads=2, hidden=64)).eval()


def draw_discs(folder: Path, count: int = 12) -> Path:
    """A data set of pictures of one or two bright discs; the last three are the tuning split."""
    rng = np.random.default_rng(7)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = ["image,mask,group,mask_kind,split"]
    y, x = np.ogrid[:60, :80]
    for i in range(count):
        labels = np.zeros((60, 80), np.uint8)
        for label in (1, 2)[: 1 + i % 2]:
            cy, cx, radius = rng.integers(15, 45), rng.integers(15, 65), rng.integers(8, 14)
            labels[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = label
        pixels = np.where(labels > 0, 190, 60) + rng.integers(-20, 21, labels.shape)
        Picture.fromarray(pixels.astype(np.uint8)).save(folder / f"images/{i}.png")
        Picture.fromarray(labels).save(folder / f"masks/{i}.png")
        rows.append(f"images/{i}.png,masks/{i}.png,{i},labels,{'tune' if i >= count - 3 else 'train'}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def source(folder: Path, split: str) -> PictureSource:
    return PictureSource(read_index(folder, split))


class Watched:
    """A source that calls a function with the number of a unit before it reads it: what happens in the middle of a run."""

    def __init__(self, inner: SampleSource, before: Callable[[int], object]) -> None:
        self.inner, self.before = inner, before

    def __len__(self) -> int:
        return len(self.inner)

    @property
    def pictures(self) -> int:
        return self.inner.pictures

    def identity(self) -> str:
        return self.inner.identity()

    def unit(self, number: int) -> Unit:
        return self.inner.unit(number)

    def read(self, number: int) -> TrainingSlice:
        self.before(number)
        return self.inner.read(number)


def spoil_last(inner: SampleSource) -> Watched:
    """A source whose last unit cannot be read."""

    def refuse(number: int) -> None:
        if number == len(inner) - 1:
            raise InputFileError("shard 3 is damaged", expected="a whole one", fix="curate again")

    return Watched(inner, refuse)


def build(discs: Path, folder: Path, config: TrainConfig = CONFIG) -> TrainingRun:
    """The parts of a run of one process, before its first step."""
    processes = Processes(0, 1, torch.device("cpu"))
    learner, objective = build_learner(config, tiny_model(), MANIFEST, processes)
    return build_run(
        config, folder, learner, objective, train=source(discs, "train"), tune=source(discs, "tune"), teacher=None,
        processes=processes,
    )  # fmt: skip


def steps_done(run: Path) -> int:
    """Steps that a run has noted in its metrics."""
    return sum("loss" in line for line in read_metrics(run))


def train(
    discs: Path,
    run: Path,
    config: TrainConfig = CONFIG,
    *,
    resume: bool = False,
    model: MedSAM | None = None,
    learn: SampleSource | None = None,
    tune: SampleSource | None = None,
    progress: StepProgress | None = None,
    wait: float = LEAVING,
) -> RunOutcome:
    return fit(
        config,
        run,
        model or tiny_model(),
        MANIFEST,
        learn or source(discs, "train"),
        tune=tune or source(discs, "tune"),
        resume=resume,
        device="cpu",
        progress=progress,
        wait=wait,
    )


def loss_of(model: MedSAM, discs: Path, config: TrainConfig, count: int = 4) -> torch.Tensor:
    """The loss of the first draws of a run."""
    draws = Draws(source(discs, "train"), MANIFEST, config)
    return Objective(model, config)(join_batches([draws[d] for d in range(count)]))


def in_child(task: Callable[[], object]) -> int:
    """Run in a fork, so that torch is imported once; gives the child's number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            task()
            code = 0
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(code)
    return child


def killed_run(discs: Path, run: Path, kills: int, seed: int, world: int = 1, config: TrainConfig = CONFIG) -> None:
    """Train with a kill -9 now and then, every third one in the middle of a save, until the run is done.

    Of several processes one dies first, as on a node that fails, and the others a moment later, as torchrun ends them.
    """
    rng = np.random.default_rng(seed)
    config = replace(config, epochs=9, save_every=1)
    for kill in range(kills):
        children = started(discs, run, world, config, resume=True)
        in_save, wanted, deadline = kill % 3 == 2, lines(run) + rng.integers(1, 4), time.monotonic() + 60
        while time.monotonic() < deadline and lines(run) < wanted:
            time.sleep(0.002)
        while in_save and time.monotonic() < deadline and not list((run / "checkpoints").glob(".*/*")):
            time.sleep(0.0002)
        time.sleep(0 if in_save else rng.uniform(0, 0.1))
        for child in rng.permutation(children).tolist():
            os.kill(child, signal.SIGKILL)
            time.sleep(0.02 if world > 1 else 0)
        ends = [os.waitpid(child, 0)[1] for child in children]
        left = sorted(path.name for path in (run / "checkpoints").glob("*"))
        print("killed" if any(ends) else "finished before the kill", lines(run), left)
    ended(started(discs, run, world, config, resume=True))


def told_to_end(discs: Path, run: Path, number: signal.Signals, waits: float | None) -> None:
    """A run that gets a signal while it measures after step 4; says how it ended and what the signal does afterwards.

    With `waits` it gets it once more, so many seconds later.
    """
    before = signal.getsignal(number)

    def send(unit: int) -> None:
        del unit
        if (run / "metrics.jsonl").is_file() and steps_done(run) == 4:
            os.kill(os.getpid(), number)
            if waits is not None:
                time.sleep(waits)
                os.kill(os.getpid(), number)

    try:
        stopped = train(discs, run, TOLD, tune=Watched(source(discs, "tune"), send))
        print(stopped.progress.step, stopped.finished, signal.getsignal(number) == before)
    except KeyboardInterrupt:
        print("interrupted", signal.getsignal(number) == before)


def lines(run: Path) -> int:
    """Lines of the run's metrics so far."""
    return (run / "metrics.jsonl").read_text().count("\n") if (run / "metrics.jsonl").is_file() else 0


SHORT = replace(CONFIG, epochs=1, validate_every=3, average=0.5)  # three steps, checkpoints after two and three
UNEVEN = replace(SHORT, global_batch=3, micro_batch=1)  # two micro-batches on one process, one on the other

TELLS: dict[str, tuple[signal.Signals, float | None]] = {
    "told": (signal.SIGTERM, None), "ctrl-c": (signal.SIGINT, None), "ctrl-c-and-torchrun": (signal.SIGINT, 0.0),
    "ctrl-c-twice": (signal.SIGINT, 1.5),
}  # fmt: skip
KILLED: dict[str, tuple[int, TrainConfig]] = {
    "killed": (1, CONFIG), "killed-ddp": (2, CONFIG), "killed-fsdp": (2, replace(CONFIG, parallel="fsdp")),
}  # fmt: skip


def started(discs: Path, run: Path, world: int, config: TrainConfig, *, resume: bool = False) -> list[int]:
    """The same run on several gloo processes, or on one that knows of no others; gives their numbers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def one(rank: int) -> None:
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        train(discs, run, config, resume=resume)

    return [in_child(partial(one, rank)) for rank in range(world)]


def ended(children: list[int]) -> None:
    """Wait for all of them, who must end well."""
    ends = [os.waitpid(child, 0)[1] for child in children]
    assert not any(ends), ends


def together(discs: Path, run: Path, world: int, config: TrainConfig, *, resume: bool = False) -> None:
    """Run it on so many processes to its end."""
    ended(started(discs, run, world, config, resume=resume))


def go_on(discs: Path, begun: Path, cut: Path, world: int, config: TrainConfig) -> None:
    """Another number of processes goes on from the checkpoint before the last of a run."""
    shutil.copytree(begun, cut)
    (cut / "model.safetensors").unlink()
    (sorted((cut / "checkpoints").iterdir())[-1] / "state.json").unlink()
    together(discs, cut, world, config, resume=True)


def all_ways(discs: Path, folder: Path) -> None:
    """One run on one process and on two, whole and divided, and each going on from what the other saved."""
    divided = replace(UNEVEN, parallel="fsdp")
    together(discs, folder / "one", 1, UNEVEN)
    together(discs, folder / "ddp", 2, UNEVEN)
    together(discs, folder / "fsdp", 2, divided)
    go_on(discs, folder / "one", folder / "one-ddp", 2, UNEVEN)
    go_on(discs, folder / "one", folder / "one-fsdp", 2, divided)
    go_on(discs, folder / "ddp", folder / "ddp-one", 1, UNEVEN)
    go_on(discs, folder / "fsdp", folder / "fsdp-one", 1, UNEVEN)
    go_on(discs, folder / "ddp", folder / "ddp-fsdp", 2, divided)


def compiled() -> None:
    """A ViT with compiled blocks against one without: gradients, names and weights as they would be saved."""
    models = []
    for compile_ in (False, True):
        torch.manual_seed(0)
        encoder = ImageEncoder(
            channels=32, depth=2, heads=2, global_blocks=(1,), image_size=64, window=3, out_channels=32
        )
        prompts = PromptEncoder(image_size=64, grid=4, channels=32)
        model = MedSAM(encoder, prompts, MaskDecoder(channels=32, heads=2, hidden=64))
        models.append(set_trainable(model, replace(CONFIG, compile=compile_)))
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for model in models:
        model.image_encoder(image).square().mean().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    by_torch, by_compiler = (list_trainable(model) for model in models)
    assert by_torch.keys() == by_compiler.keys()
    for name, one in by_torch.items():
        if one.grad is not None:
            torch.testing.assert_close(by_compiler[name].grad, one.grad, atol=1e-5, rtol=1e-4)
    saved, saved_compiled = (fold_updates(model).state_dict() for model in models)
    assert saved.keys() == saved_compiled.keys()
    assert all(torch.equal(tensor, saved_compiled[name]) for name, tensor in saved.items())
    print("compiled")


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, folder, kills_, seed_ = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    discs_ = Path(sys.argv[5])
    if what in TELLS:
        told_to_end(discs_, folder / "run", *TELLS[what])
    elif what == "prompts":
        for world_, name in enumerate(("one", "two"), start=1):
            together(discs_, folder / name, world_, replace(PROMPTED, epochs=2))
    elif what == "compiled":
        compiled()
    elif what == "long":  # with loader processes, to be told to end from outside
        long = replace(CONFIG, workers=2, epochs=10_000, save_every=100_000, validate_every=100_000)
        print(train(discs_, folder / "run", long).finished)
    elif what in KILLED:
        killed_run(discs_, folder / "killed", kills_, seed_, *KILLED[what])
        killed_run(discs_, folder / "whole", 0, seed_, *KILLED[what])
    else:
        all_ways(discs_, folder)
