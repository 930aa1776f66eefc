"""What a pickled weights file would allocate, read off its instructions before anything is built.

torch.load believes the sizes that a pickle declares: a few bytes can ask for a tensor of gigabytes. Here the
instructions are followed with names and numbers alone, as torch's own reader would follow them, and held to the file.
"""

from __future__ import annotations

import math
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from medsam.errors import CheckpointError
from medsam.models.weights.file import WANTED

PICKLE_BYTES = 1 << 20  # of instructions; a million of them build half a gigabyte at the worst
PICKLE_BYTES_PER_STORAGE = 1024  # a tensor with its name takes about 300
LEGACY_PICKLES = 5  # magic number, version, system, the object, the names of its storages
ITEM_BYTES = {
    "DoubleStorage": 8, "LongStorage": 8, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "FloatStorage": 4,
    "IntStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "ShortStorage": 2,
}  # fmt: skip
BUILDERS = {"torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"}
ALLOWED = BUILDERS | {
    "torch._utils _rebuild_parameter", "torch Size", "torch device", "torch.nn.parameter Parameter",
    "collections OrderedDict", "collections Counter", "collections defaultdict", "argparse Namespace", "builtins set",
    "__builtin__ set", "builtins complex", "numpy dtype", "numpy.core.multiarray scalar", "numpy._core.multiarray scalar",
    "_codecs encode", "torch.serialization _get_layout", "builtins dict", "builtins list", "__builtin__ dict", "__builtin__ list",
}  # fmt: skip
_INTEGERS = {"BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG", "LONG4"}
_CONSTANTS = {"NONE", "NEWFALSE", "NEWTRUE", "BINFLOAT", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"}
_TEXTS = {"BINUNICODE", "SHORT_BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


@dataclass(frozen=True)
class _Storage:
    items: int


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass
class _Machine:
    """Follows the instructions that torch's reader of weights knows; others end it, since that reader refuses them.

    Args:
        path: Of the file.
        limit: Bytes that all storages together may have.
        records: Bytes of each storage that lies in the file by name; None where they have no names.
    """

    path: Path
    limit: int
    records: Mapping[str, int] | None
    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    storages: dict[str, int] = field(default_factory=dict)

    def follow(self, file: IO[bytes]) -> bool:
        """Follow one pickle to its end; False where torch's reader would not get there."""
        for code, argument, _ in pickletools.genops(file):
            if code.name == "STOP":
                return True
            if not self._step(code.name, argument):
                return False
        return False

    def _step(self, name: str, argument: object) -> bool:
        stack = self.stack
        if name in _INTEGERS or name in _TEXTS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(() if name == "EMPTY_TUPLE" else None)
        elif name == "GLOBAL":
            stack.append(self._allow(str(argument)))
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            stack.append(tuple(self._pop_mark()))
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[int(str(argument))] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[int(str(argument))])
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            stack.append(self._build(function, arguments))
        elif name in ("APPENDS", "SETITEMS"):
            self._pop_mark()
        elif name in ("APPEND", "BUILD", "SETITEM"):
            del stack[-2 if name == "SETITEM" else -1 :]
        elif name != "PROTO":
            return False
        return True

    def _pop_mark(self) -> list[object]:
        place = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _allow(self, name: str) -> _Global:
        module, _, attribute = name.partition(" ")
        plain = module in ("torch", "torch.storage") and (attribute.endswith("Storage") or attribute.islower())
        kind = module in ("numpy.dtypes", "numpy.dtype") or attribute.endswith("DType")
        if name not in ALLOWED and not plain and not kind:
            raise CheckpointError(
                f"{self.path} wants to run code ({module}.{attribute})",
                expected="tensors and plain values only",
                fix="do not open it otherwise; get the weights as safetensors from someone you trust",
            )
        return _Global(name)

    def _storage(self, told: object) -> object:
        if not isinstance(told, tuple) or len(told) < 5 or not isinstance(told[1], _Global):
            return None
        items, key = told[4], str(told[2])
        if not isinstance(items, int) or items < 0:
            raise self._too_large("a storage of no size")
        size = items * ITEM_BYTES.get(told[1].name.rpartition(" ")[2], 1)
        if self.records is not None and size > self.records.get(key, 0):
            raise self._too_large(f"a storage of {size:,} bytes where {self.records.get(key, 0):,} lie")
        self.storages[key] = max(size, self.storages.get(key, 0))
        if sum(self.storages.values()) > self.limit:
            raise self._too_large(f"{sum(self.storages.values()):,} bytes in a file of {self.limit:,}")
        return _Storage(items)

    def _build(self, function: object, arguments: object) -> object:
        if not isinstance(function, _Global) or function.name not in BUILDERS:
            return None
        if not isinstance(arguments, tuple) or len(arguments) < 4 or not isinstance(arguments[0], _Storage):
            raise self._too_large("a tensor without a storage")
        storage, offset, size, stride = arguments[:4]
        numbers = [offset, *size, *stride] if isinstance(size, tuple) and isinstance(stride, tuple) else [None]
        if not all(isinstance(one, int) and one >= 0 for one in numbers) or len(size) != len(stride):
            raise self._too_large("a tensor of no shape")
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        if 0 not in size and (last >= storage.items or math.prod(size) > storage.items):
            raise self._too_large(f"a tensor of {math.prod(size):,} values over {storage.items:,}")
        return None

    def _too_large(self, what: str) -> CheckpointError:
        return explain_damaged_weights(self.path, f"it declares {what}")


def check_pickle(path: Path, *, is_zip: bool) -> None:
    """Hold what a .pth, .pt, .bin or .ckpt declares to what lies in it.

    Raises:
        CheckpointError: it would build more than it holds, calls what builds no weights, or is no such file.
    """
    size = path.stat().st_size
    try:
        if is_zip:
            _check_zip(path, size)
            return
        with path.open("rb") as file:
            machine = _Machine(path, size, None)
            for _ in range(LEGACY_PICKLES):
                if not machine.follow(_Bounded(file, path)):  # type: ignore[arg-type]
                    return
    except (
        ValueError, LookupError, TypeError, OverflowError, EOFError, AttributeError, struct.error, RuntimeError, OSError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise explain_damaged_weights(path, str(error)) from None


def _check_zip(path: Path, size: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise explain_damaged_weights(path, "its parts are compressed")
        if len({entry.filename for entry in entries}) != len(entries):
            raise explain_damaged_weights(path, "two of its parts have one name")
        if sum(entry.file_size for entry in entries) > size:
            raise explain_damaged_weights(path, "its parts are larger than the file")
        pickled = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
        if len(pickled) != 1:
            raise explain_damaged_weights(path, "it has no data.pkl")
        folder = pickled[0].filename.removesuffix("data.pkl") + "data/"
        records = {e.filename.removeprefix(folder): e.file_size for e in entries if e.filename.startswith(folder)}
        if pickled[0].file_size > PICKLE_BYTES + PICKLE_BYTES_PER_STORAGE * len(records):
            raise explain_damaged_weights(
                path, f"{pickled[0].file_size:,} bytes of instructions for {len(records)} storages"
            )
        with archive.open(pickled[0]) as file:
            _Machine(path, size, records).follow(file)


class _Bounded:
    """A file of which no more is read than honest instructions need."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self.left = 2 * PICKLE_BYTES

    def read(self, count: int) -> bytes:
        """The next bytes."""
        return self._count(self.file.read(min(count, self.left + 1)))

    def readline(self) -> bytes:
        """The next line."""
        return self._count(self.file.readline(self.left + 1))

    def _count(self, data: bytes) -> bytes:
        self.left -= len(data)
        if self.left < 0:
            raise explain_damaged_weights(self.path, f"more than {2 * PICKLE_BYTES:,} bytes of instructions")
        return data


def explain_damaged_weights(path: Path, reason: str) -> CheckpointError:
    """The error for a weights file that cannot be read, with the first line of the reason."""
    return CheckpointError(
        f"{path} is damaged or no weights file ({(reason.splitlines() or ['no reason given'])[0][:160]})",
        expected=WANTED,
        fix="download or copy it again",
    )
