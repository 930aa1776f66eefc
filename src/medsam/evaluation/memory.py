"""The most memory that a piece of work had at once: of this process, or of its GPU."""

from __future__ import annotations

import math
import sys
from pathlib import Path

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_PEAK = "VmHWM:"  # the line of the largest resident size since the last reset, in kB


def reset_peak_memory() -> bool:
    """Forget the largest size so far; False where the system cannot, and then no peak is known."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        return True
    try:
        _RESET.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def read_peak_memory() -> float:
    """Give the largest size since reset_peak_memory in MB: of the GPU where one is in use, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / 1e6
    try:
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return math.nan
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(_PEAK)), math.nan)
