"""What a whole store has in common: fixed when it is made, in store.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from medsam.data.cases.case import Bits
from medsam.data.store.split import FRACTIONS, check_fractions
from medsam.errors import DataError

FORMAT = 1  # of the store's files


@dataclass(frozen=True)
class CurateSettings:
    """What a whole store has in common; fixed when it is made.

    Args:
        seed: Of the split.
        fractions: Of train, tune and val (paper, Training protocol).
        bits: 8, or 16 for pixels in finer steps.
        cases_per_shard: Most cases of a shard, which is what a worker does at a time.
    """

    seed: int = 0
    fractions: tuple[float, float, float] = FRACTIONS
    bits: Bits = 8
    cases_per_shard: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "fractions", check_fractions(self.fractions))
        if self.bits not in (8, 16):
            raise DataError(f"bits is {self.bits}", expected="8 or 16", fix="pass --bits 8 or --bits 16")


def load_settings(store: Path) -> CurateSettings:
    """CurateSettings of a store.

    Raises:
        DataError: not a store, or one of another format.
    """
    try:
        raw = json.loads((store / "store.json").read_text(encoding="utf-8"))
        if raw["format"] != FORMAT:
            raise DataError(
                f"{store} has another format than this version reads",
                expected=f"format {FORMAT}",
                fix="curate it again, or use the version that made it",
            )
        whole = {name: raw[name] for name in ("seed", "bits", "cases_per_shard")}
        if not all(type(value) is int for value in whole.values()):
            raise TypeError
        return CurateSettings(fractions=tuple(float(part) for part in raw["fractions"]), **whole)  # type: ignore[arg-type]
    except (OSError, ValueError, ArithmeticError, TypeError, LookupError, RecursionError):
        raise DataError(
            f"{store} is not a store", expected="a folder made by `medsam curate`", fix="check the path"
        ) from None
