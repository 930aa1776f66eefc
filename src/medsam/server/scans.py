"""Scans that are open: read once, kept while there is room, one copy for all who ask."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medsam.annotation.study.label_runs import SliceRuns
from medsam.annotation.study.project import Project, ProjectCase, Revision
from medsam.errors import IntensityError
from medsam.imaging.image import Image, find_slice_axis
from medsam.imaging.intensity import find_intensity_bounds, normalize
from medsam.jobs.project import read_case, read_options
from medsam.server.schemas import MeasurementView

MAX_BYTES = 2 << 30  # of stored voxels of all open scans together; the one that is asked for is always kept
Slices = tuple[tuple[int, SliceRuns], ...]  # those that hold an object, with their places
MAX_STATES = 32  # as runs, which share the slices that are equal


@dataclass(frozen=True, eq=False)
class OpenScan:
    """A scan as stored, and ready for the model.

    Args:
        stored: As read.
        window: Of a CT whose file carries none, or another than the file's.
        fingerprint: Names its voxels.
        measured: What was found of an object, and in which slices: {(label, whether by parts): (slices, rows)}.
    """

    stored: Image
    window: str | None
    fingerprint: str
    measured: dict[tuple[int, bool], tuple[Slices, list[MeasurementView]]] = field(default_factory=dict, repr=False)

    @cached_property
    def image(self) -> Image:
        """Normalized."""
        return normalize(self.stored, window=self.window)

    @cached_property
    def bounds(self) -> tuple[float, float] | None:
        """The stored values that are shown as black and white; None where the scan does not say."""
        try:
            _, low, high = find_intensity_bounds(self.stored, self.window)
        except IntensityError:
            return None
        return low, high

    def axis(self, plane: str) -> int:
        """The array axis of "stored", "axial", "coronal" or "sagittal"."""
        return 0 if plane == "stored" else find_slice_axis(self.stored.grid, plane)


class OpenScans:
    """The scans and masks of a project that were used last."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._scans: OrderedDict[str, OpenScan] = OrderedDict()
        self._states: OrderedDict[int, Revision] = OrderedDict()
        self._used: dict[str, float] = {}
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}

    def open(self, case: ProjectCase) -> OpenScan:
        """The scan of a case; two that ask at once wait for one reading.

        Raises:
            DataError: its file is away, damaged or another.
        """
        with self._lock:
            turn = self._reading.setdefault(case.id, threading.Lock())
        with turn:
            with self._lock:
                self._used[case.id] = time.monotonic()
                if case.id in self._scans:
                    self._scans.move_to_end(case.id)
                    return self._scans[case.id]
            scan = OpenScan(read_case(case), read_options(case)[1].window, case.fingerprint)
            with self._lock:
                self._scans[case.id] = scan
                while len(self._scans) > 1 and sum(s.stored.values.nbytes for s in self._scans.values()) > MAX_BYTES:
                    self._scans.popitem(last=False)
            return scan

    def is_ready(self, case: ProjectCase) -> bool:
        """Whether the scan of a case is read and normalized already."""
        with self._lock:
            scan = self._scans.get(case.id)
        return scan is not None and "image" in vars(scan)

    def rest(self, idle_seconds: float) -> None:
        """Let go of scans that nobody asked for in some seconds; who asks again has them read again."""
        now = time.monotonic()
        with self._lock:
            for case in [case for case, used in self._used.items() if now - used > idle_seconds]:
                self._scans.pop(case, None)
                self._used.pop(case)

    def state(self, revision: int) -> Revision:
        """A saved state, which never changes."""
        with self._lock:
            if revision in self._states:
                self._states.move_to_end(revision)
                return self._states[revision]
            known = dict(self._states)
        state = self._project.revision(revision, known)
        with self._lock:
            self._states[revision] = state
            while len(self._states) > MAX_STATES:
                self._states.popitem(last=False)
        return state


def wire_values(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The same values in a little-endian type that browsers have: integers to 32 bits, or float32."""
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        return np.ascontiguousarray(values, dtype=np.uint8)
    if kind in "ui" and size <= 4:
        return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return np.ascontiguousarray(values, dtype="<f4")
