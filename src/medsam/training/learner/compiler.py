"""Whether torch.compile finds what it needs, asked before a run begins."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys

import torch

from medsam.errors import MissingDependencyError


def require_compiler(device: torch.device) -> None:
    """Refuse a compiled run where there is nothing to compile with.

    Raises:
        MissingDependencyError: torch.compile would find no compiler of C++, or on CUDA no Triton.
    """
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    name = os.environ.get("CXX", usual)
    if shutil.which(name) is None:
        raise MissingDependencyError(
            f"the recipe says compile = true and there is no {name}",
            expected="a compiler of C++: the one that CXX names, or else g++ (macOS: clang++, Windows: cl)",
            fix="install it (Debian: apt-get install g++) or leave compile out",
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise MissingDependencyError(
            "the recipe says compile = true and Triton is not installed",
            expected="triton, which torch.compile needs on CUDA",
            fix="run pip install triton, or leave compile out",
        )
