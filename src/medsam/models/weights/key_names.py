"""The names weights go by: wrappers taken off, what a set of names tells, and whether it fits a network.

"Flat" names are those of the Segment Anything release: image_encoder.*, prompt_encoder.*, mask_decoder.*.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal

from medsam.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from medsam.models.networks.architecture import Architecture

# flat: SAM's release; training: {"model", "optimizer", ...} or DDP's module.; wrapped: {"model"}, {"state_dict"} or a
# prefix such as Lightning's model.; hub: transformers' SamModel; safetensors: written by this package
Layout = Literal["flat", "training", "wrapped", "hub", "safetensors"]

_WRAPPERS = ("model", "state_dict", "model_state_dict", "net", "network")
_TRAINING_COMPANIONS = {"optimizer", "optimizer_state_dict", "epoch", "lr_scheduler", "scaler"}
_ENCODERS = ("image_encoder.", "vision_encoder.")


def unwrap(loaded: object, where: object) -> tuple[dict[str, Tensor], Layout]:
    """Find the tensors in what a .pth held, and give them flat or hub names without prefixes.

    Args:
        loaded: What torch.load gave.
        where: The file, for messages.

    Raises:
        CheckpointError: no tensors of one SAM-like model in it.
    """
    layout: Layout = "flat"
    seen: list[str] = []
    while isinstance(loaded, Mapping):
        seen = [str(key) for key in loaded]
        inner = next((key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        layout = "training" if _TRAINING_COMPANIONS & set(seen) else "wrapped"
        loaded = loaded[inner]
    if not isinstance(loaded, Mapping) or not loaded:
        raise _no_model(where, type(loaded).__name__, seen)
    tensors = {str(key): value for key, value in loaded.items() if hasattr(value, "shape") and hasattr(value, "dtype")}
    if len(tensors) != len(loaded):
        raise _no_model(where, "values that are no tensors", [key for key in map(str, loaded) if key not in tensors])
    prefix = _prefix(tensors, where)
    if prefix:
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        layout = "training" if layout == "training" or "module." in prefix else "wrapped"
    if any(key.startswith("vision_encoder.") for key in tensors):
        layout = "hub"
    return tensors, layout


def _prefix(names: Iterable[str], where: object) -> str:
    """What stands before every name: DDP's "module.", Lightning's "model." and so on."""
    names = list(names)
    found = {name[: name.index(encoder)] for name in names for encoder in _ENCODERS if encoder in name}
    if not found:
        raise _no_model(where, "no image encoder", names)
    if len(found) > 1:
        raise CheckpointError(
            f"{where} holds {len(found)} models ({', '.join(sorted(found))})",
            expected="one model",
            fix="save the one you want by itself",
        )
    return found.pop()


def _no_model(where: object, what: str, names: list[str]) -> CheckpointError:
    listed = f": {_first(names)}" if names else ""
    return CheckpointError(
        f"{where} holds {what}{listed}",
        expected="the weights of a SAM, MedSAM or LiteMedSAM model",
        fix="give a file with image_encoder, prompt_encoder and mask_decoder",
    )


def detect_architecture(tensors: Mapping[str, Tensor], where: object) -> Architecture:
    """Tell the image encoder from names and shapes, flat or hub.

    Raises:
        CheckpointError: none of the encoders this package has.
    """
    first = tensors.get("image_encoder.patch_embed.seq.2.c.weight")
    if first is not None:
        return "tiny_vit_s" if len(first) == 32 else "tiny_vit"
    positions = next((tensors[e + "pos_embed"] for e in _ENCODERS if e + "pos_embed" in tensors), None)
    widths: dict[int, Architecture] = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
    width = int(positions.shape[-1]) if positions is not None and len(positions.shape) > 0 else 0
    if width not in widths:
        raise CheckpointError(
            f"{where} has an image encoder that is not known ({_first(sorted(tensors))})",
            expected="SAM's ViT-B, L or H, or LiteMedSAM's TinyViT",
            fix="convert it with the project it comes from",
        )
    return widths[width]


def check_names(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: object) -> None:
    """Hold tensors to the names, shapes and kinds a network wants: all of them and nothing else.

    Raises:
        CheckpointError: what is missing, surplus or of another shape: how many, and the first ten.
    """
    missing = [name for name in wanted if name not in tensors]
    surplus = [name for name in tensors if name not in wanted]
    other = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
        for name in wanted
        if name in tensors and tensors[name].shape != wanted[name].shape
    ]
    kinds = [
        f"{name} ({tensors[name].dtype})"
        for name in wanted
        if name in tensors and tensors[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    rows = (("missing", missing), ("surplus", surplus), ("of another shape", other), ("of another kind", kinds))
    told = [f"{len(names)} {what}: {_first(names)}" for what, names in rows if names]
    if told:
        raise CheckpointError(
            f"{where} does not fit the network, {'; '.join(told)}",
            expected=f"exactly the {len(wanted)} tensors of the architecture",
            fix="use the project these weights come from, or convert them to the release's names",
        )


def _first(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
