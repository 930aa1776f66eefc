"""nnU-Net itself as a comparator: its raw data sets written, its commands called, its models asked for boxes.

Nothing of it is imported before it is asked for. Shapes: N boxes, H rows and W columns of the slice.
Source: paper, Methods, "Training protocol" (2D configuration, the box mask concatenated, default settings, last checkpoint).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from medsam.baselines.box_channel import fill_boxes, take_boxes
from medsam.errors import CheckpointError, DataError, MissingDependencyError
from medsam.files.atomic import write_json
from medsam.io.pictures.raster import save_picture

RAW, PREPROCESSED, RESULTS = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
COLOR, GREY, BOX = ("red", "green", "blue"), ("grey",), "noNorm"  # nnU-Net leaves a channel of that name as it is
MODEL_FOLDER = "nnUNetTrainer*__nnUNetPlans__2d"
CHECKPOINT = "fold_all/checkpoint_final.pth"  # of a model that was trained on all cases to its end
TRAINER = "nnUNetTrainer"  # its variants of other epochs lie among modules that import torchvision
SPACING = (999, 1, 1)  # what nnU-Net says of a picture
INSTALL = (  # nnU-Net's own way brings torchvision and with it another torch, by way of timm, and needs neither
    "pip install acvl-utils batchgeneratorsv2 einops graphviz pandas scikit-image scikit-learn seaborn yacs"
    " && pip install --no-deps dynamic-network-architectures timm nnunetv2"
)


@dataclass(frozen=True)
class RawDataset:
    """Where a raw data set of nnU-Net lies.

    Args:
        root: Holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results.
        number: Its id.
        name: Its name.
    """

    root: Path
    number: int
    name: str

    def __post_init__(self) -> None:
        """Refuse what nnU-Net cannot read."""
        if not 1 <= self.number <= 999 or not self.name.replace("_", "").replace("-", "").isalnum():
            raise DataError(
                f"the data set {self.number} named {self.name!r}",
                expected="a number from 1 to 999 and a name of letters, digits, - and _",
                fix="pass --number and --name",
            )

    @property
    def folder(self) -> Path:
        """Of the raw data set."""
        return self.root / RAW / f"Dataset{self.number:03d}_{self.name}"


def write_case(
    raw: RawDataset, case: str, slice_HW3: NDArray[np.uint8], *, mask_HW: NDArray[np.bool_], box: np.ndarray, grey: bool
) -> None:
    """Write one image-mask pair with its box: a file for each channel, the box last, and labelsTr/CASE.png.

    Args:
        raw: The data set.
        case: Its name, which nothing else has.
        slice_HW3: The picture.
        mask_HW: Of the expert.
        box: x0 y0 x1 y1 in slice pixels.
        grey: Whether the pictures of this set have one channel.

    Raises:
        OutputError: the disk refused.
    """
    height, width = slice_HW3.shape[:2]
    box_HW = fill_boxes(box, height, width)[0].astype(np.uint8)
    channels = [slice_HW3[..., k] for k in range(1 if grey else 3)] + [box_HW]
    named = {f"imagesTr/{case}_{number:04d}.png": channel for number, channel in enumerate(channels)}
    for name, array in {**named, f"labelsTr/{case}.png": mask_HW.astype(np.uint8)}.items():
        save_picture(raw.folder / name, array)


def write_dataset_json(raw: RawDataset, cases: int, *, grey: bool) -> None:
    """Write what makes the folder a data set, after its last case.

    Raises:
        OutputError: the disk refused.
    """
    channels = (*(GREY if grey else COLOR), BOX)
    record = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {"background": 0, "target": 1},
        "numTraining": cases,
        "file_ending": ".png",
    }
    write_json(raw.folder / "dataset.json", record)


def require_nnunet() -> None:
    """See that nnU-Net is installed.

    Raises:
        MissingDependencyError: it is not.
    """
    if find_spec("nnunetv2") is None:
        raise MissingDependencyError(
            "nnU-Net is not installed",
            expected="the package nnunetv2",
            fix=f"{INSTALL} (docs/baselines.md), or leave --engine out",
        )


def train_nnunet(
    raw: RawDataset, *, epochs: int, device: str, resume: bool, steps_per_epoch: int = 0, memory_gb: float = 8.0
) -> Path:
    """Plan, preprocess and train the 2D configuration on all cases by nnU-Net's own commands.

    Args:
        raw: Written before.
        epochs: Of its training.
        device: cpu, cuda or mps.
        resume: Go on from nnU-Net's own last checkpoint.
        steps_per_epoch: 0 is nnU-Net's own number, 250.
        memory_gb: What its plan may use of a GPU, which decides patch and batch; 8 is nnU-Net's own.

    Returns:
        The folder of the model.

    Raises:
        MissingDependencyError: nnU-Net is not installed.
        DataError: fewer than one epoch, a negative number of steps, or one of the commands failed.
    """
    require_nnunet()
    if epochs < 1 or steps_per_epoch < 0:
        raise DataError(
            f"{epochs} epochs of {steps_per_epoch} steps", expected="1 or more, and 0 or more",
            fix="pass --epochs and --steps-per-epoch anew",
        )  # fmt: skip
    number = str(raw.number)
    if not resume:
        plan = ("-d", number, "-c", "2d", "-np", "1", "-npfp", "1", "--verify_dataset_integrity")
        run_command(raw.root, "plan_and_preprocess", (*plan, "-gpu_memory_target", str(memory_gb)))
    more = ("--c",) if resume else ()
    length = (str(epochs), str(steps_per_epoch))
    run_command(raw.root, "train", (*length, number, "2d", "all", "-tr", TRAINER, "-device", device, *more))
    return raw.root / RESULTS / raw.folder.name / f"{TRAINER}__nnUNetPlans__2d"


_ENTRIES = {  # the first arguments of train are the numbers of epochs and steps, for which nnU-Net has no flags
    "plan_and_preprocess": """
from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import plan_and_preprocess_entry as entry
""",
    "train": """
from functools import wraps
from nnunetv2.run.run_training import run_training_entry as entry
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
made, epochs, steps = nnUNetTrainer.__init__, int(sys.argv.pop(1)), int(sys.argv.pop(1))
@wraps(made)
def make(self, *given, **named):
    made(self, *given, **named)
    self.num_epochs = epochs
    if steps:
        self.num_iterations_per_epoch = steps
        self.num_val_iterations_per_epoch = max(1, steps // 5)  # as 50 of 250
nnUNetTrainer.__init__ = make
# its closing validation would answer the very cases that it learnt from, one by one: fold "all" keeps none aside
nnUNetTrainer.perform_actual_validation = lambda self, save_probabilities=False: None
""",
}


def run_command(root: Path, command: str, arguments: Sequence[str]) -> None:
    """Run nnUNetv2_plan_and_preprocess or nnUNetv2_train by this Python, with its folders below a root.

    Raises:
        DataError: it failed; what it said was on standard error.
    """
    folders = {name: str((root / name).resolve()) for name in (RAW, PREPROCESSED, RESULTS)}
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    code = f"import sys{_ENTRIES[command]}sys.argv[0] = 'nnUNetv2_{command}'\nentry()\n"
    done = subprocess.run(  # noqa: S603 - our own Python, and arguments that are no shell's
        [sys.executable, "-c", code, *arguments], env={**os.environ, **folders}, stdout=sys.stderr, check=False
    )
    if done.returncode:
        raise DataError(
            f"nnUNetv2_{command} ended with {done.returncode}",
            expected="0",
            fix="read what it said above",
        )


class _Predictor(Protocol):
    """What is used of nnUNetPredictor."""

    def predict_single_npy_array(
        self,
        image: NDArray[np.float32],
        properties: dict[str, object],
        previous: None,
        output: None,
        probabilities: bool,
    ) -> NDArray[np.integer]: ...


class NnUNetSegmenter:
    """A trained nnU-Net that answers boxes by its own predictor; its picture is its embedding.

    Args:
        folder: Of the model: nnUNetTrainer__nnUNetPlans__2d.
        device: Where it runs.

    Raises:
        MissingDependencyError: nnU-Net is not installed.
        CheckpointError: no model with a last checkpoint.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.folder = folder
        self.name = f"nnunet-{folder.parent.name}"
        final = folder / CHECKPOINT
        if not final.is_file():
            raise CheckpointError(f"{folder} has no last checkpoint", expected=CHECKPOINT, fix="train it to its end")
        self.weights = final
        require_nnunet()
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        predictor = nnUNetPredictor(device=device, perform_everything_on_device=device.type == "cuda", allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), ("all",), final.name)
        self._predictor = cast(_Predictor, predictor)
        names = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["channel_names"]
        self._grey = len(names) == len(GREY) + 1

    def embed(self, slice_rgb: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Give the picture itself."""
        return slice_rgb

    def decode(
        self,
        embedding: NDArray[np.uint8],
        /,
        *,
        boxes: NDArray[np.float64] | None = None,
        points: Sequence[Sequence[tuple[float, float]]] | None = None,
        point_labels: Sequence[Sequence[int]] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Answer N boxes, in slice pixels: masks (N, H, W) bool, and N scores that are NaN.

        Raises:
            PromptError: clicks, no box, or one that leaves the slice.
        """
        boxes_N4 = take_boxes(boxes, points, point_labels)
        height, width = embedding.shape[:2]
        pixels = embedding[..., :1] if self._grey else embedding
        masks = []
        for box_HW in fill_boxes(boxes_N4, height, width):
            channels = np.concatenate([pixels.transpose(2, 0, 1), box_HW[None]]).astype(np.float32)[
                :, None
            ]  # (C, 1, H, W)
            found = self._predictor.predict_single_npy_array(channels, {"spacing": SPACING}, None, None, False)
            masks.append(found[0] == 1)
        return np.stack(masks), np.full(len(masks), np.nan, dtype=np.float32)


def find_nnunet_model(path: Path) -> Path | None:
    """Find the one model in a folder of nnU-Net: the folder itself, or below its root; None where it is none.

    Raises:
        CheckpointError: several.
    """
    if not path.is_dir():
        return None
    found = [path] if path.match(MODEL_FOLDER) else sorted(path.glob(f"{RESULTS}/*/{MODEL_FOLDER}"))
    if len(found) > 1:
        raise CheckpointError(
            f"{path} holds {len(found)} models of nnU-Net", expected="one", fix="name the folder of one of them"
        )
    return found[0] if found else None
