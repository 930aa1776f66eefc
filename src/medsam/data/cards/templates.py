"""Path templates with named fields, as "imagesTr/{case}_0000.nii.gz": which fields they name, and what fits them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from medsam.errors import DataError

FIELD = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
TOKEN = re.compile(FIELD.pattern + r"|\*")


def find_fields(template: str) -> set[str]:
    """Names of the fields of a template."""
    return {token[1] for token in FIELD.finditer(template)}


def find_wildcard(template: str, bound: set[str]) -> str | None:
    """What in a mask's template would fit the masks of other images too, in words; None where nothing does.

    Args:
        template: Of the mask.
        bound: Fields that the image has given values to.
    """
    free = [token[1] for token in FIELD.finditer(template) if token[1] not in bound and token[2] is None]
    if free:
        return f"the field {free[0]!r} is bound by no image and fits every mask"
    if not find_fields(template) & bound:
        return "no field of the image occurs, so that it fits every image"
    return None


def make_pattern(template: str, fields: Mapping[str, str]) -> str:
    """The regular expression of one template; fields known already become their text."""
    out, position, named = [], 0, set()
    for token in TOKEN.finditer(template):
        out.append(re.escape(template[position : token.start()]))
        position = token.end()
        name, own = token.group(1), token.group(2)
        if name is None:
            out.append("[^/]*")
        elif name in fields:
            out.append(re.escape(fields[name]))
        elif name in named:
            out.append(f"(?P={name})")
        else:
            named.add(name)
            out.append(f"(?P<{name}>{own or '[^/]+?'})")
    return "".join([*out, re.escape(template[position:])])


def fill(template: str, fields: Mapping[str, str], *, strict: bool = True) -> str:
    """Put the fields into a template.

    Raises:
        DataError: strict, and the template names a field that does not exist.
    """

    def value(token: re.Match[str]) -> str:
        if token.group(1) in fields:
            return fields[token.group(1)]
        if strict:
            raise DataError(
                f"the template {template!r} names the field {token.group(1)!r}",
                expected=f"one of {', '.join(fields)}",
                fix="correct the card",
            )
        return token.group(0)

    return FIELD.sub(value, template)
