"""Everything that decides a training run, in one frozen record: read from TOML, saved as JSON with the run."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin, get_type_hints

from medsam.errors import DataError
from medsam.evaluation.targets import BoxNoise
from medsam.imaging.boxes import Noise
from medsam.io.text import read_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Augmentation = Literal["none", "light", "strong"]
PROMPTS = ("box", "point", "mask")
MAX_BYTES = 1 << 20  # of a recipe
MOST = 2**63 - 1  # of a whole number where nothing smaller is known
LIMITS = {  # beyond these a slip of the key would fill the memory before it is seen
    "global_batch": 1_000_000, "micro_batch": 1_000_000, "workers": 1024, "views": 1000, "lora_rank": 4096, "clicks": 100,
    "corrections": 100, "epochs": 10**9, "steps": 10**12,
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """A run in numbers; the defaults are the paper's, with their section, and nothing else decides the weights.

    Args:
        name: Of the model that comes out.
        data: Stores made by `medsam curate`, or folders with images/, masks/ and index.csv; may be mixed.
        train_split: Rows of the data to learn from.
        tune_split: Rows to measure on during training; "" measures nothing.
        base: Catalog name or file of the weights to start from.
        like: Catalog name whose pre-processing the model gets; "" keeps that of the base.
        frame_size: Side of the model frame in pixels: 256, 512 or 1024, to which position tables are resized; 0 is the base's.
        encoder: "full" trains the image encoder, "lora" adds low-rank updates to its attention, "tail" trains its last
            part, "frozen" leaves it.
        tail: Blocks of a ViT, or stages of a TinyViT, that learn with encoder = "tail"; the neck learns with them.
        lora_rank: Rank of the updates with encoder = "lora".
        epochs: Times every sample is seen; with a balance, as many samples are drawn, but not each one as often.
        steps: Of the run, where it is not to be counted in epochs; 0 is what the epochs come to.
        balance: "modality" or "dataset" draws each of them equally often; "none" each sample.
        global_batch: Images of one step, over all processes and accumulated micro-batches.
        micro_batch: Images of one process that are in memory at once.
        learning_rate: Of AdamW.
        schedule: "constant", or "cosine" down to zero.
        student: Light encoder that learns to give the features of the base's encoder and takes its place before the
            base's decoder; "" trains the base itself.
        student_start: "random" weights, or "base": every so-many-th block, head and channel of a base that is a larger
            TinyViT (weight_selection.py).
        cosine_weight: Weight of the cosine distance beside the squared error of the student's features.
        layer_decay: Factor of the learning rate from one block of a ViT, or stage of a TinyViT, to the one before it.
        beta1: Of AdamW.
        beta2: Of AdamW.
        weight_decay: Of AdamW.
        box_noise_px: Largest move of a side of the box, in pixels of a 1024 x 1024 picture.
        box_noise: "both" moves sides in or out; "enlarge" outwards only, as the released training does; "shift" the box
            as a whole; "all" half of the room as a whole and half of it side by side.
        box_noise_share: Limit of a move as a share of the box's width or height, so that it finds a small target; 0 is none.
        augmentation: "light" or "strong" changes of the picture and its masks, other ones at every draw (augmentation.py).
        views: With cache_embeddings: how many views of each picture are kept, the picture itself and changed ones that stay the
            same in every run; 0 changes the picture anew at every draw.
        prompts: Kinds of prompt, one of which is drawn for each target: "box", "point" (clicks), "mask" (a spoiled mask
            with a box or clicks, whichever is there too).
        clicks: Most clicks of a point prompt; the first is well inside, others inside or beside the target.
        corrections: Further rounds in the same step: a click where the answer is wrong most, and the answer itself.
        prompt_encoder: "frozen", or "full" to train what the prompts use of it.
        prompts_per_image: Most targets of an image in one step; 1 is one image-mask pair a sample, as in the paper.
        quality_weight: Weight of the squared error of the predicted IoU in the loss; 0 leaves that head alone.
        average: Decay of a running average of the weights, as 0.999, which is then the result; 0 is off.
        precision: "auto" is bf16 on CUDA and fp32 elsewhere; weights and optimizer are fp32 always.
        parallel: "ddp" keeps the model on every process, "fsdp" divides weights, gradients and optimizer among them.
        checkpoint_activations: Compute encoder blocks again in the backward pass instead of keeping them.
        compile: Have torch.compile translate the blocks of an encoder that learns; the first steps wait for it, a minute or more.
        cache_embeddings: With encoder = "frozen" or "tail": encode each image once and keep on disk what does not change.
        cache_folder: Where these are kept, for runs that share them; "" is in the folder of the run.
        validate_every: Steps between measurements on tune_split; 0 is once an epoch.
        validation_images: Most images of tune_split that are measured, evenly chosen.
        save_every: Steps between checkpoints.
        workers: Loader processes of each process; 0 loads in the process itself.
        seed: Of everything random.
        examples: Most images of each measurement that are drawn; 0 draws none.
        tensorboard: Write event files for TensorBoard as well.
        licence: Under which the new weights may be used; "" states none.
    """

    name: str = "medsam"
    data: tuple[str, ...] = ()
    train_split: str = "train"
    tune_split: str = "tune"  # Training protocol: monitor the performance on the tuning set
    base: str = "sam-vit-b"  # Training protocol: initialized with the pre-trained SAM, ViT-Base
    like: str = "medsam-vit-b"  # Dataset curation and pre-processing: 1024 x 1024 x 3, [0, 1]
    frame_size: int = 0
    encoder: Literal["full", "lora", "tail", "frozen"] = "full"  # Training protocol: encoder and decoder updated
    tail: int = 1
    lora_rank: int = 8
    epochs: int = 150  # Training protocol
    steps: int = 0
    balance: Literal["none", "modality", "dataset"] = "none"
    global_batch: int = 160  # Training protocol
    micro_batch: int = 8  # Training protocol: 160 on 20 GPUs
    learning_rate: float = 1e-4  # Training protocol
    schedule: Literal["constant", "cosine"] = "constant"  # Training protocol names an initial rate and no schedule
    student: Literal["", "tiny_vit", "tiny_vit_s"] = ""
    student_start: Literal["random", "base"] = "random"
    cosine_weight: float = 0.0
    layer_decay: float = 1.0  # Training protocol: one rate
    beta1: float = 0.9  # Training protocol
    beta2: float = 0.999  # Training protocol
    weight_decay: float = 0.01  # Training protocol
    box_noise_px: float = 20.0  # Training protocol: random perturbation of 0-20 pixels
    box_noise: Noise = "both"
    box_noise_share: float = 0.0
    augmentation: Augmentation = "none"  # Training protocol: data augmentation was not used
    views: int = 0
    prompts: tuple[str, ...] = ("box",)  # Training protocol: bounding box prompt
    clicks: int = 1
    corrections: int = 0
    prompt_encoder: Literal["frozen", "full"] = "frozen"  # Training protocol: we fixed the prompt encoder
    prompts_per_image: int = 1  # Training protocol: image-mask pairs
    quality_weight: float = 0.0
    average: float = 0.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    checkpoint_activations: bool = False
    compile: bool = False
    cache_embeddings: bool = False
    cache_folder: str = ""
    validate_every: int = 0
    validation_images: int = 500
    save_every: int = 500
    workers: int = 4
    seed: int = 0
    examples: int = 8
    tensorboard: bool = False
    licence: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in (
            "epochs",
            "global_batch",
            "micro_batch",
            "prompts_per_image",
            "save_every",
            "validation_images",
            "tail",
        ):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        for name, value in asdict(self).items():
            _require(not isinstance(value, float) or math.isfinite(value), name, value, "a finite number")
        for name in (
            "steps",
            "validate_every",
            "workers",
            "seed",
            "examples",
            "views",
            "box_noise_px",
            "box_noise_share",
            "quality_weight",
            "weight_decay",
        ):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        _require(0 < self.learning_rate < 1, "learning_rate", self.learning_rate, "more than 0 and less than 1")
        for name in ("beta1", "beta2", "average"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "0 or more and less than 1")
        _require(0 < self.layer_decay <= 1, "layer_decay", self.layer_decay, "more than 0 and at most 1, which is off")
        _require(self.cosine_weight >= 0, "cosine_weight", self.cosine_weight, "0 or more")
        if self.layer_decay < 1:
            wanted = "an encoder that learns, or layer_decay = 1"
            _require(self.encoder != "frozen", "layer_decay", self.layer_decay, wanted)
        _require(self.lora_rank >= 1, "lora_rank", self.lora_rank, "1 or more")
        _require(bool(self.data), "data", [], "a store or a folder at least")
        wanted = 'another split than train_split, or "" to measure nothing'
        _require(self.tune_split != self.train_split, "tune_split", self.tune_split, wanted)
        if self.cache_embeddings:
            wanted = 'encoder = "frozen" or "tail", or embeddings change'
            _require(self.encoder in ("frozen", "tail"), "cache_embeddings", True, wanted)
            wanted = 'parallel = "ddp", since cached features come from an encoder that is whole'
            _require(self.parallel == "ddp", "cache_embeddings", True, wanted)
            wanted = '"none" with cache_embeddings, or a number of views whose embeddings are kept'
            _require(self.augmentation == "none" or self.views > 0, "augmentation", self.augmentation, wanted)
        wanted = "0 without cache_embeddings and an augmentation"
        kept = self.cache_embeddings and self.augmentation != "none"
        _require(self.views == 0 or kept, "views", self.views, wanted)
        if self.compile:
            wanted = 'an encoder that learns with compile = true, so not "frozen"'
            _require(self.encoder != "frozen", "encoder", self.encoder, wanted)
            wanted = "false with compile = true, which cannot see into blocks that are computed twice"
            _require(not self.checkpoint_activations, "checkpoint_activations", True, wanted)
        for name, value in asdict(self).items():
            most = LIMITS.get(name, MOST)
            _require(not isinstance(value, int) or value <= most, name, value, f"{most:,} at most")
        self._check_student()
        self._check_frame()
        self._check_prompts()

    def _check_student(self) -> None:
        if self.student:
            _require(
                self.encoder == "full", "encoder", self.encoder, '"full" with a student, which is all of it that learns'
            )
            wanted = '"frozen" with a student, which keeps what its teacher has'
            _require(self.prompt_encoder == "frozen", "prompt_encoder", self.prompt_encoder, wanted)
            wanted = '"none" with a student, whose teacher sees each picture once'
            _require(self.augmentation == "none", "augmentation", self.augmentation, wanted)
            _require(
                self.quality_weight == 0, "quality_weight", self.quality_weight, "0 with a student: no mask is made"
            )
        else:
            _require(self.student_start == "random", "student_start", self.student_start, '"random" without a student')

    def _check_frame(self) -> None:
        _require(self.frame_size in (0, 256, 512, 1024), "frame_size", self.frame_size, "0, 256, 512 or 1024")
        if self.student:
            wanted = "0 with a student, whose features must lie over those of its teacher"
            _require(self.frame_size == 0, "frame_size", self.frame_size, wanted)

    def _check_prompts(self) -> None:
        wanted = 'some of "box", "point", "mask", each once, and not "mask" alone'
        known = set(self.prompts) <= set(PROMPTS) and len(set(self.prompts)) == len(self.prompts)
        _require(
            known and set(self.prompts) > set() and set(self.prompts) != {"mask"}, "prompts", list(self.prompts), wanted
        )
        _require(self.corrections >= 0, "corrections", self.corrections, "0 or more")
        _require(self.clicks >= 1, "clicks", self.clicks, "1 or more")
        _require(self.clicks == 1 or "point" in self.prompts, "clicks", self.clicks, '"point" among the prompts, or 1')
        if self.student:
            shown = self.prompts == ("box",) and not self.corrections
            _require(shown, "prompts or corrections", list(self.prompts), "neither with a student: no mask is made")

    @property
    def noise(self) -> BoxNoise:
        """How far simulated boxes are from the tight ones."""
        return BoxNoise(self.box_noise_px, self.box_noise, self.box_noise_share or None)

    @property
    def learnt_prompts(self) -> tuple[str, ...]:
        """The kinds of prompt that the weights learn to answer, corrections included."""
        corrective = ("point", "mask") if self.corrections else ()
        return tuple(kind for kind in PROMPTS if kind in self.prompts or kind in corrective)

    def to_json(self) -> str:
        """As kept with the run."""
        return json.dumps(asdict(self), indent=1) + "\n"


# What may differ when a run goes on: it decides how fast and what is shown, not what is learnt.
FREE_ON_RESUME = frozenset({"parallel", "workers", "save_every", "cache_folder", "examples", "tensorboard"})


def read_config(path: Path, **changes: object) -> TrainConfig:
    """Read a recipe.

    Args:
        path: TOML, one key a field of TrainConfig.
        changes: Fields that the caller sets over it.

    Raises:
        InputFileError: the file is missing, no text or too large.
        DataError: no TOML, an unknown field, or a value of the wrong kind; one line says which.
    """
    text = read_text(path, "a recipe in TOML", max_bytes=MAX_BYTES)
    try:
        raw = tomllib.loads(text)
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:  # of TOML, or of a number with thousands of digits
        reason = f"{error}".splitlines()[0][:120].partition(";")[0]
    else:
        return make_config({**raw, **changes}, source=str(path))
    raise DataError(f"{path} is no TOML ({reason})", expected="lines of name = value", fix="correct it")


def load_config(path: Path) -> TrainConfig:
    """Read the record a run was started with, config.json.

    Raises:
        DataError: missing, damaged, or of another version.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise DataError(
            f"{path.parent} has no readable {path.name}",
            expected="the folder of a run made by medsam train",
            fix="check the path",
        ) from None
    return make_config(raw if isinstance(raw, dict) else {}, source=str(path))


def make_config(values: Mapping[str, object], *, source: str) -> TrainConfig:
    """Make a configuration of plain values, checked by name and kind.

    Raises:
        DataError: naming the field, what came and what was expected.
    """
    kinds = get_type_hints(TrainConfig)
    for name in values:
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            raise DataError(
                f"{source} has the field {_show(name)}",
                expected=f"one of the fields of docs/training.md{f', perhaps {near[0]}' if near else ''}",
                fix="correct the name",
            )
    checked = {name: _check_value(name, value, kinds[name], source) for name, value in values.items()}
    return TrainConfig(**checked)  # type: ignore[arg-type] # each value was held to its field's type


def _check_value(name: str, value: object, kind: object, source: str) -> object:
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        if value in choices:
            return value
        raise _wrong(name, value, f"one of {', '.join(map(str, choices))}", source)
    if get_origin(kind) is tuple:
        listed = [value] if isinstance(value, str) else value
        if isinstance(listed, list | tuple) and all(isinstance(item, str) for item in listed):
            return tuple(listed)
        raise _wrong(name, value, "a list of paths" if name == "data" else "a list of texts in quotes", source)
    if kind is float and type(value) is int and abs(value) <= MOST:
        return float(value)
    if type(value) is kind:
        return value
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "a text in quotes"}
    raise _wrong(name, value, words[kind], source)  # type: ignore[index] # the four plain kinds are left


def _wrong(name: str, value: object, expected: str, source: str) -> DataError:
    return DataError(f"{name} is {_show(value)} in {source}", expected=expected, fix="correct the value")


def _show(value: object) -> str:
    """A value in a message, cut where it is long."""
    try:
        return f"{value!r:.100}"
    except ValueError:  # Python prints no number of more than 4,300 digits
        return "a number of thousands of digits"


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise DataError(f"{name} is {_show(value)}", expected=expected, fix="correct the recipe")


def compare_configs(old: DataclassInstance, new: DataclassInstance) -> dict[str, tuple[object, object]]:
    """List the fields in which two configurations of one kind differ: name -> (old, new)."""
    names = [field.name for field in fields(old)]
    return {
        name: (getattr(old, name), getattr(new, name)) for name in names if getattr(old, name) != getattr(new, name)
    }
