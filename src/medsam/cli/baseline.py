"""`medsam baseline`: the paper's comparators, listed, prepared, trained and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from medsam.cli.flags import Device, Output, Switch, ThisTerminal
from medsam.cli.train import STOPPED
from medsam.jobs.baseline import Network, ScheduleOptions, SelectionOptions

app = App(name="baseline", help="The paper's comparators: list, prepare, train, info.", help_format="plaintext")
Folders = Annotated[list[Path], Parameter(negative=())]
Selection = Annotated[SelectionOptions, Parameter(name="*", group=Group("Which samples", sort_key=2), negative=())]
Schedule = Annotated[ScheduleOptions, Parameter(name="*", group=Group("Training", sort_key=3), negative=())]


@app.command(name="list")
def list_(*, terminal: ThisTerminal) -> None:
    """List the comparators and the command that gives each.

    Example: medsam baseline list
    """
    from dataclasses import asdict

    from medsam.jobs.baseline import list_baselines

    lines = list_baselines()
    terminal.answer([asdict(one) for one in lines], "\n".join(f"{o.name:14} {o.what}: {o.obtain}" for o in lines))


@app.command
def prepare(
    network: Literal["unet"],
    folders: Folders = [],  # noqa: B006 - only read
    /,
    *,
    output: Output,
    name: str = "medsam",
    number: int = 101,
    selection: Selection = SelectionOptions(),
    schedule: Schedule = ScheduleOptions(),
    terminal: ThisTerminal,
) -> None:
    """Write a raw data set of nnU-Net: one case for every target, its box as the last channel.

    Example: medsam baseline prepare unet data/mr_mixed --modality MR --name MR -o nnunet/

    Args:
        network: unet.
        folders: Data set folders: images/, masks/ and index.csv (docs/evaluation.md).
        output: Folder for nnUNet_raw and, in training, nnUNet_preprocessed and nnUNet_results.
        name: Of the data set.
        number: Of the data set, from 1 to 999.
    """
    del network
    from medsam.jobs.baseline import NnUNetRequest, prepare_nnunet

    request = NnUNetRequest(folders, output, name, number, selection, schedule)
    folder, cases = prepare_nnunet(request)
    terminal.report({"folder": str(folder), "cases": cases}, f"{folder}: {cases} cases")


@app.command
def train(
    network: Network,
    folders: Folders = [],  # noqa: B006 - only read
    /,
    *,
    output: Output,
    engine: Literal["builtin", "nnunet"] = "builtin",
    name: str = "",
    number: int = 101,
    selection: Selection = SelectionOptions(),
    schedule: Schedule = ScheduleOptions(),
    resume: Switch = False,
    device: Device = None,
    terminal: ThisTerminal,
) -> int:
    """Train a specialist of one modality or task, which medsam evaluate --model takes.

    Example: medsam baseline train unet data/endoscopy_kvasir --epochs 4 --steps-per-epoch 25 -o unet-endoscopy/

    Args:
        network: unet or deeplabv3plus.
        folders: Data set folders: images/, masks/ and index.csv (docs/evaluation.md).
        output: Folder of the run: checkpoints, metrics.jsonl, model.safetensors, model card.
        engine: Our own loop, or nnU-Net itself on what baseline prepare has written to the output.
        name: Of the specialist, made of the network and the samples without it; of the data set of nnU-Net.
        number: Of the data set of nnU-Net.
        resume: Go on from the last checkpoint of the run in that folder.
    """
    from medsam.errors import DataError
    from medsam.jobs.baseline import BaselineRequest, NnUNetRequest, train_baseline, train_with_nnunet
    from medsam.training.run.folder import MODEL

    if engine == "nnunet":
        if network != "unet" or folders:
            raise DataError(
                "another network or data for nnU-Net",
                expected="unet, and a prepared data set in -o",
                fix="run medsam baseline prepare first and name the data there",
            )
        request = NnUNetRequest([], output, name or "medsam", number, selection, schedule, resume, device)
        model = train_with_nnunet(request)
        terminal.report({"model": str(model)}, str(model))
        return 0
    asked = BaselineRequest(network, folders, output, name, selection, schedule, resume, device)
    with terminal.progress("train") as progress:
        outcome = train_baseline(asked, progress=progress)
    step, seconds = outcome.progress.step, round(outcome.progress.seconds, 1)
    answer = {"finished": outcome.finished, "step": step, "steps": outcome.total, "seconds": seconds}
    stopped = f"stopped at step {step} of {outcome.total}; go on with --resume and the same flags"
    done = f"{output / MODEL}: {step} steps in {seconds} s"
    terminal.report(answer | {"output": str(output)}, done if outcome.finished else stopped)
    return 0 if outcome.finished else STOPPED


@app.command
def info(file: Path, /, *, terminal: ThisTerminal) -> None:
    """Say what a specialist's file holds: network, plan, samples, epochs, seconds, seed.

    Example: medsam baseline info unet-endoscopy/model.safetensors

    Args:
        file: A model.safetensors of medsam baseline train.
    """
    from medsam.jobs.baseline import describe_baseline

    facts = describe_baseline(file)
    terminal.answer(facts, "\n".join(f"{key}: {value}" for key, value in facts.items()))
