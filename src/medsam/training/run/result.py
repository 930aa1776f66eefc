"""What a run leaves: weights with their checksums, the curves, and the model card."""

from __future__ import annotations

from contextlib import nullcontext

from medsam.files.atomic import write_text
from medsam.models.weights.checkpoint import save_checkpoint
from medsam.models.weights.file import digest
from medsam.models.weights.manifest import Manifest
from medsam.training.learner.low_rank import fold_updates
from medsam.training.run.folder import BEST, CURVE, MODEL, SUMS
from medsam.training.run.model_card import write_card
from medsam.training.run.monitor import draw_curves
from medsam.training.run.sealed import RunPosition
from medsam.training.run.state import TrainingRun
from medsam.training.samples.sources import SampleSource


def write_weights(run: TrainingRun, name: str) -> Manifest:
    """Write the weights as they are now, from the first process, for all to see; gives their manifest.

    Raises:
        OutputError: the disk refused.
    """
    model = run.learner.whole()

    def write() -> Manifest:
        manifest = save_checkpoint(fold_updates(model), run.learner.manifest, run.folder / name)
        sums = [f"{digest(run.folder / one)}  {one}\n" for one in (BEST, MODEL) if (run.folder / one).is_file()]
        write_text(run.folder / SUMS, "".join(sums))
        return manifest

    return run.processes.agree(write)


def finish_run(run: TrainingRun, train: SampleSource, progress: RunPosition) -> None:
    """Write the last weights as the result (paper), with their card and the curves.

    Raises:
        OutputError: the disk refused.
    """
    learner = run.learner
    with learner.average.applied(learner.model) if learner.average is not None else nullcontext():
        written = write_weights(run, MODEL)
    if run.processes.first:
        draw_curves({run.config.name: run.folder}, run.folder / CURVE)
        write_card(run.folder, run.config, written, train, progress)
