"""Names, colours and codes for the objects of prompts, as a user gives them: in the order of the labels, or LABEL=VALUE."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from medsam.errors import PromptError
from medsam.imaging.prompts import Prompt
from medsam.io.codes import parse_code


def name_prompts(
    prompts: Sequence[Prompt], names: Sequence[str], colors: Sequence[str], codes: Sequence[str] = ()
) -> tuple[Prompt, ...]:
    """Give prompts the names, colours and codes of their labels; an object without a name is called by its code.

    Args:
        prompts: Of one image.
        names: Each NAME, for the labels in ascending order, or LABEL=NAME.
        colors: Each #rrggbb or r,g,b, in the same way.
        codes: Each SCHEME:VALUE:MEANING, in the same way.

    Raises:
        PromptError: more values than labels, a label without a prompt, or a color or a code that is none.
    """
    labels = sorted({prompt.label for prompt in prompts})
    called, painted = _by_label(names, labels, "--name"), _by_label(colors, labels, "--color")
    shown = {label: parse_color(text) for label, text in painted.items()}
    meant = {label: parse_code(text) for label, text in _by_label(codes, labels, "--code").items()}
    called = {label: meaning for label, (_, _, meaning) in meant.items()} | called
    return tuple(
        replace(
            p,
            name=called.get(p.label, p.name),
            color=shown.get(p.label, p.color),
            code=meant.get(p.label, p.code),
        )
        for p in prompts
    )


def parse_color(text: str) -> tuple[int, int, int]:
    """Read "#ff8800" or "255,136,0".

    Raises:
        PromptError: neither.
    """
    by_hex = re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", text.strip())
    by_number = re.fullmatch(r"(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})", text.strip())
    if by_hex:
        red, green, blue = (int(part, 16) for part in by_hex.groups())
    elif by_number:
        red, green, blue = (int(part) for part in by_number.groups())
    else:
        red = green = blue = 256
    if max(red, green, blue) > 255:
        raise PromptError(f"color is {text!r}", expected="#rrggbb or r,g,b up to 255", fix="pass --color '#ff8800'")
    return red, green, blue


def _by_label(values: Sequence[str], labels: Sequence[int], flag: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for place, value in enumerate(values):
        label, mark, text = value.partition("=")
        by_label = bool(mark) and label.strip().isdigit()
        known = int(label) in labels if by_label else place < len(labels)
        if not known:
            raise PromptError(
                f"{flag} {value} and the labels {', '.join(map(str, labels))}",
                expected="at most one value for each label",
                fix=f"pass {flag} once for each object, or {flag} {labels[0]}=VALUE",
            )
        found[int(label) if by_label else labels[place]] = text if by_label else value
    return found
