"""Answers of bytes that a client may ask for in part, and that it keeps by their ETag."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Response

from medsam.errors import MedsamError
from medsam.server.problems import problem

_ONE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class RangeOutside(MedsamError):
    """A part was asked for that lies behind the end."""


@dataclass(frozen=True)
class Wanted:
    """What of an answer a request wants.

    Args:
        none_match: ETags that it has.
        part: Its Range.
        if_range: The ETag that the rest of its parts has.
    """

    none_match: str | None = None
    part: str | None = None
    if_range: str | None = None

    def has(self, tag: str) -> bool:
        """Whether the client has the answer of this ETag already."""
        return self.none_match is not None and (tag in self.none_match or self.none_match.strip() == "*")


def _wanted(
    if_none_match: Annotated[str | None, Header()] = None, range: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Wanted:  # fmt: skip
    return Wanted(if_none_match, range, if_range)


Part = Annotated[Wanted, Depends(_wanted)]


def answer_bytes(data: bytes, wanted: Wanted, headers: Mapping[str, str]) -> Response:
    """All bytes (200), the one range that was asked for (206), or the refusal of one behind the end (416).

    Several ranges, or those of another version, are answered with all, as is allowed.

    Args:
        data: The whole answer.
        wanted: What the request asked for.
        headers: With the ETag.

    Source: RFC 9110, 14.
    """
    told = {**headers, "Accept-Ranges": "bytes"}
    found = _ONE.fullmatch(wanted.part.strip()) if wanted.part else None
    stale = wanted.if_range is not None and wanted.if_range.strip() != headers["ETag"]
    if found is None or stale or not any(found.groups()) or (found[1] and found[2] and int(found[2]) < int(found[1])):
        return Response(data, media_type="application/octet-stream", headers=told)
    size = len(data)
    start = int(found[1]) if found[1] else max(size - int(found[2]), 0)
    stop = min(int(found[2]) + 1, size) if found[1] and found[2] else size
    if start >= stop:
        error = RangeOutside(f"bytes from {start}", expected=f"0 to {size - 1}", fix="ask for a part that is there")
        return problem(416, error, headers={"Content-Range": f"bytes */{size}"})
    told["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    return Response(data[start:stop], 206, media_type="application/octet-stream", headers=told)
