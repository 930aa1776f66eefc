"""Tensors out of a file, without running anything the file brings along."""

from __future__ import annotations

import argparse
import pickle
import re
import struct
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from medsam.errors import CheckpointError
from medsam.models.weights.file import WANTED, detect_kind
from medsam.models.weights.pickle_sizes import check_pickle, explain_damaged_weights

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_ONE_AT_A_TIME = threading.Lock()  # torch keeps the list of allowed names for the whole process


def find_weights(path: Path) -> Path:
    """The one weights file of a SamModel folder; a file is its own.

    Raises:
        CheckpointError: a folder without one.
    """
    if not path.is_dir():
        return path
    weights = next((path / name for name in _HUB_FILES if (path / name).is_file()), None)
    if weights is None:
        what = "weights in several shards" if list(path.glob("*.index.json")) else f"neither {' nor '.join(_HUB_FILES)}"
        raise CheckpointError(
            f"the folder {path} holds {what}", expected=WANTED, fix="save it with save_pretrained in one file"
        )
    return weights


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        CheckpointError: damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (
        SafetensorError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        OSError,
    ) as error:
        raise explain_damaged_weights(path, str(error) or type(error).__name__) from None
    return tensors


def load_pickle(path: Path) -> object:
    """torch.load that can only make tensors and plain values, whatever the file asks for.

    Raises:
        CheckpointError: it asks for more, declares more than it holds, or is damaged.
    """
    zipped = detect_kind(path) == "zip"
    check_pickle(path, is_zip=zipped)
    scalar = cast(Callable[..., object], np.float64(0).__reduce__()[0])
    harmless: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
        argparse.Namespace,  # the options of a training run
        np.dtype,
        *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")},
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
    try:
        with _ONE_AT_A_TIME, torch.serialization.safe_globals(harmless), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        text = " ".join(str(error).split())
        asked = re.search(r"GLOBAL ([\w.]+)|(operand \d+)", text)
        if asked:
            raise CheckpointError(
                f"{path} wants to run code ({asked[1] or asked[2]})",
                expected="tensors and plain values only",
                fix="do not open it otherwise; get the weights as safetensors from someone you trust",
            ) from None
        raise explain_damaged_weights(
            path, text.rpartition("WeightsUnpickler error: ")[2].removeprefix("Weights only load failed. ")
        ) from None
    except (
        RuntimeError,
        EOFError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        AssertionError,
        OverflowError,
        MemoryError,
        RecursionError,
        struct.error,
        OSError,
    ) as error:
        raise explain_damaged_weights(path, str(error) or type(error).__name__) from None
