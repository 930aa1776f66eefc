"""From a card and a folder to its cases: path templates with named fields, matched one folder at a time."""

from __future__ import annotations

import csv
import hashlib
import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from medsam.data.cards.card import Card, CardTarget
from medsam.data.cards.templates import TOKEN, fill, find_wildcard, make_pattern
from medsam.errors import DataError
from medsam.io.guard import guarded

_EDGE_BYTES = 1 << 16


@dataclass(frozen=True)
class MaskFile:
    """Mask files of a case and the targets they hold; no files where the template matched none."""

    files: tuple[str, ...]
    template: str
    targets: tuple[CardTarget, ...]


@dataclass(frozen=True)
class CaseFiles:
    """One image of a data set with its masks; paths are relative to the root.

    Args:
        name: Unique within the data set.
        group: What a split must not divide, as the card says.
        image: Path of the image file or DICOM folder.
        masks: Its mask files by target.
        excluded: Reason of the card's exclusion list, empty where none applies.
    """

    name: str
    group: str
    image: str
    masks: tuple[MaskFile, ...] = field(default=())
    excluded: str = ""


def find_cases(card: Card, root: Path) -> list[CaseFiles]:
    """Every case of a card below a folder, sorted by image path.

    Raises:
        DataError: the folder is missing, no image matches, or two images have the same case name.
    """
    if not root.is_dir():
        raise DataError(
            f"the folder {root} of card {card.name} does not exist",
            expected="the data set as published",
            fix="pass --root, or CARD=FOLDER",
        )
    found = sorted(
        _rows_of_table(card, root) if card.images.table else _rows_of_tree(card, root), key=lambda row: _natural(row[0])
    )
    if not found:
        raise DataError(
            f"no image below {root} matches {' or '.join(card.images.path)}",
            expected=f"the layout of card {card.name}",
            fix="check the folder, or the card's images.path",
        )
    cases = [_case(card, root, image, fields) for image, fields in found]
    names: dict[str, str] = {}
    for case in cases:
        if names.setdefault(case.name, case.image) != case.image:
            which = f" {case.name!r}" if card.published else ""
            raise DataError(
                f"card {card.name}: several images are the same case{which}",
                expected="one image per case",
                fix="put more fields into images.case",
            )
    _refuse_shared(card, cases)
    return cases


def _rows_of_tree(card: Card, root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    seen: set[str] = set()
    for template in card.images.path:
        for path, fields in match_template(root, template, {}):
            if path not in seen:
                seen.add(path)
                yield path, fields


def _rows_of_table(card: Card, root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    table = root / str(card.images.table)
    if not table.is_file():
        raise DataError(
            f"the table {table} of card {card.name} does not exist",
            expected="the data set as published",
            fix="check --root and images.table",
        )
    with guarded(table, "a CSV table"), table.open(newline="", encoding="utf-8-sig") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            fields = {
                re.sub(r"\W+", "_", key.strip()): (value or "").strip()
                for key, value in row.items()
                if isinstance(key, str)
            }
            if not all(re.fullmatch(pattern, fields.get(column, "")) for column, pattern in card.images.where.items()):
                continue
            path = fill(card.images.path[0], {**fields, "row": str(line)})
            further = re.fullmatch(make_pattern(card.images.match, {}), path) if card.images.match else None
            yield path, {**fields, "row": str(line), **(further.groupdict() if further else {})}


def _case(card: Card, root: Path, image: str, fields: dict[str, str]) -> CaseFiles:
    images = card.images
    name = fill(images.case, fields) if images.case else "_".join(fields.values()) or image
    group = fill(images.group, fields) if images.group else name
    if images.group_ends:
        group = str(bisect_left(images.group_ends, _number(card, group)))
    by_template: dict[str, list[CardTarget]] = {}
    for target in card.targets:
        for key in set(target.when) - set(fields):
            raise DataError(
                f"card {card.name}: target {target.name} asks for the field {key!r}",
                expected=f"one of {', '.join(fields)}",
                fix="correct its `when`",
            )
        if all(re.fullmatch(pattern, fields.get(key, "")) for key, pattern in target.when.items()):
            by_template.setdefault(target.path or card.masks.path or "", []).append(target)
    masks = []
    for template, targets in by_template.items():
        files = _mask_files(card, root, template, fields)
        if files or not (card.masks.optional or all(target.optional for target in targets)):
            masks.append(MaskFile(files, fill(template, fields, strict=False), tuple(targets)))
    reason = next(
        (why for pattern, why in card.exclude.items() if fnmatchcase(image, pattern) or fnmatchcase(name, pattern)), ""
    )
    return CaseFiles(name, group, image, tuple(masks), reason)


def _number(card: Card, group: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", group):
        raise DataError(
            f"card {card.name}: images.group gives a text", expected="a number, for group_ends", fix="correct the card"
        )
    return int(group)


def _mask_files(card: Card, root: Path, template: str, fields: dict[str, str]) -> tuple[str, ...]:
    """The mask files of one case.

    Raises:
        DataError: the template would give a case the masks of other cases, or one mask in several forms.
    """
    found = list(match_template(root, template, fields))
    wildcard = find_wildcard(template, set(fields)) if fields else None
    free = sorted({name for _, known in found for name in known} - set(fields))
    several = [name for name in free if len({known[name] for _, known in found}) > 1]
    if wildcard or several:
        what = wildcard or f"the field {several[0]!r} has several values for one image"
        raise DataError(
            f"card {card.name}: in the mask path {template!r} {what}",
            expected="fields that images.path, or the table, binds",
            fix='name a field of the image in it, and write "*" where an image has several mask files',
        )
    return tuple(sorted((path for path, _ in found), key=_natural))


def _refuse_shared(card: Card, cases: list[CaseFiles]) -> None:
    """Refuse a mask file that two images get by different values of the template, as p1*.png finds p10.png for p1.

    Raises:
        DataError: there is one.
    """
    homes: dict[str, str] = {}
    shared = {
        file for case in cases for mask in case.masks for file in mask.files
        if homes.setdefault(file, mask.template) != mask.template
    }  # fmt: skip
    if shared:
        raise DataError(
            f"card {card.name}: {len(shared)} mask files belong to several images by their paths",
            expected="mask paths in which nothing but the image's own name fits",
            fix='put what separates the names before "*", as {case}_*.png',
        )


def match_template(root: Path, template: str, fields: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(relative path, fields) of everything below root that a template matches; known fields must agree.

    "{name}" takes one run of characters without a slash, "{name:regex}" what the regex allows, "*" anything within one
    level, "**" any number of levels. A template ending in "/" matches folders. A field used twice must match the same.
    """
    parts = template.rstrip("/").split("/")
    yield from _descend(root, "", parts, dict(fields), folders=template.endswith("/"))


def _descend(
    root: Path, prefix: str, parts: list[str], fields: dict[str, str], *, folders: bool
) -> Iterator[tuple[str, dict[str, str]]]:
    head, rest = parts[0], parts[1:]
    if head == "**":
        yield from _descend(root, prefix, rest, fields, folders=folders)
        for entry in _entries(root, prefix, folders=True):
            yield from _descend(root, f"{prefix}{entry}/", parts, fields, folders=folders)
        return
    literal = fill(head, fields, strict=False)
    if not TOKEN.search(literal):
        path = root / prefix / literal
        names = [literal] if (path.is_dir() if rest or folders else path.is_file()) else []
    else:
        names = _entries(root, prefix, folders=bool(rest) or folders)
    pattern = re.compile(make_pattern(head, fields))
    for name in names:
        found = pattern.fullmatch(name)
        if found is None:
            continue
        known = {**fields, **found.groupdict()}
        if rest:
            yield from _descend(root, f"{prefix}{name}/", rest, known, folders=folders)
        else:
            yield prefix + name, known


def _entries(root: Path, prefix: str, *, folders: bool) -> list[str]:
    return _listing(str(root / prefix), folders)


@lru_cache(maxsize=4096)
def _listing(folder: str, folders: bool) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() == folders and not e.name.startswith("."))
    except OSError:
        return []


def forget_listings() -> None:
    """Look at the disk again: a run that follows another in the same process must see new files."""
    _listing.cache_clear()


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Sort key under which slice 10 follows slice 9."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path)]


def fingerprint(path: Path) -> str:
    """What changes when a file changes: its size and the sha256 of its first and last 64 KiB; of all files of a folder.

    Compressed formats (gzip, PNG, zip) carry a checksum of everything at their end, so any change of content shows. An
    edit of the same length in the middle of an uncompressed file over 128 KiB does not. A missing file has one as well.
    """
    digest = hashlib.sha256()
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for member in members:
        try:
            size = member.stat().st_size
            digest.update(f"{member.relative_to(path) if path.is_dir() else ''}\0{size}\0".encode())
            with member.open("rb") as file:
                digest.update(file.read(_EDGE_BYTES))
                if size > 2 * _EDGE_BYTES:
                    file.seek(-_EDGE_BYTES, os.SEEK_END)
                digest.update(file.read(_EDGE_BYTES))
        except OSError as error:
            digest.update(f"\0{error.errno}\0".encode())
    return digest.hexdigest()
