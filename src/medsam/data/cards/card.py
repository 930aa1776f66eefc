"""A data set described as data: a TOML card that says what the set is, where its files lie and what they mean.

The fields are explained in docs/curation.md. A card holds no absolute path: folders are relative to a root that the
user gives.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, cast, get_args

from medsam.data.cards.templates import TOKEN, find_fields, find_wildcard, make_pattern
from medsam.errors import DataError, MedsamError
from medsam.imaging.modality import Modality, parse_modality, parse_window
from medsam.io.guard import guarded
from medsam.io.text import read_text

MaskKind = Literal["semantic", "instance"]
MaskForm = Literal["labels", "outline", "stack", "aperio-xml", "osirix-plist", "lidc-xml"]
MaskGrid = Literal["own", "image"]
Plane = Literal["axial", "coronal", "sagittal", "stored"]
ImageForm = Literal["file", "slide", "raw-2048-be"]
Pick = Literal["all", "same-size"]
GroupKind = Literal["patient", "scan", "video", "slide", "image"]


@dataclass(frozen=True)
class CardTarget:
    """One thing that is segmented.

    Args:
        name: What the catalogue calls it.
        ids: Values of the mask that mean it; empty for every value but the background.
        path: Template of its own mask file; None where the card's masks hold it.
        window: CT window for its images; None for the card's.
        whole: Keep all its pieces as one object instead of one per connected component.
        branching: Vessel-like: the paper leaves it out, because a box does not say which branch is meant.
        optional: Its own mask file may be absent, which then means that there is none.
        when: Fields of the path that must match these patterns for the target to apply.
    """

    name: str
    ids: tuple[int, ...] = ()
    path: str | None = None
    window: str | None = None
    whole: bool = False
    branching: bool = False
    optional: bool = False
    when: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CardImages:
    """Where images lie and which part of a path is what.

    Args:
        path: Templates relative to the root, as "imagesTr/{case}_0000.nii.gz"; one ending in "/" is a DICOM folder.
        case: Name of the case in terms of the fields; left out, all fields joined.
        group: What must not be divided by a split, in terms of the fields.
        group_kind: What a group is.
        group_space: Sets with the same space share patients; left out, the set's own name.
        table: A CSV file below the root whose columns are fields; then `path` is filled in from its rows.
        match: Template that takes further fields out of the path of a table's rows.
        where: Columns and the pattern their value must match.
        channel: Which channel of a multi-channel file.
        group_ends: Groups are runs of numbered images: the last number of each run; `group` is then a number.
        form: "file"; "slide", cut into 1024 tiles; or "raw-2048-be": 2048 x 2048 big-endian 16-bit pixels without a header, white where thin.
    """

    path: tuple[str, ...]
    case: str = ""
    group: str = ""
    group_kind: GroupKind = "image"
    group_space: str = ""
    table: str | None = None
    match: str | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    channel: int | None = None
    group_ends: tuple[int, ...] = ()
    form: ImageForm = "file"


@dataclass(frozen=True)
class CardMasks:
    """Where masks lie and how they are meant.

    Args:
        path: Template; "*" in it allows several files, which then are separate objects.
        kind: "semantic": values are classes, objects are connected components; "instance": each value is one object.
        form: "labels", or how else the set publishes its masks.
        background: The value that means nothing.
        threshold: Values above it are 1, others 0: for masks stored as grey pictures.
        grid: "own" geometry must agree with the image's; "image" where the mask files carry none.
        nearest: A mask of another size is brought to the image's, for sets that publish them so.
        pick: Of several files, "all", or those of the "same-size" as the image (others are cut-outs).
        optional: An image without a mask file has no target, as in sets with normal cases.
    """

    path: str | None = None
    kind: MaskKind = "semantic"
    form: MaskForm = "labels"
    background: int = 0
    threshold: float | None = None
    grid: MaskGrid = "own"
    nearest: bool = False
    pick: Pick = "all"
    optional: bool = False


@dataclass(frozen=True)
class Card:
    """A whole card; see docs/curation.md for the TOML."""

    name: str
    version: str
    licence: str
    citation: str
    modality: Modality
    dimension: Literal[2, 3]
    images: CardImages
    masks: CardMasks
    targets: tuple[CardTarget, ...]
    title: str = ""
    url: str = ""
    notes: str = ""
    window: str | None = None
    plane: Plane = "axial"
    published: bool = False
    external: bool = False
    exclude: Mapping[str, str] = field(default_factory=dict)
    ignore_ids: tuple[int, ...] = ()
    text: str = field(default="", repr=False, compare=False)

    @property
    def group_space(self) -> str:
        """The name groups are unique in."""
        return self.images.group_space or self.name


def find_shipped_cards() -> dict[str, Traversable]:
    """Names and files of the cards inside the package."""
    folder = files("medsam.data.cards") / "shipped"
    return {
        entry.name.removesuffix(".toml"): entry
        for entry in sorted(folder.iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".toml")
    }


def load_card(name_or_path: str | Path) -> Card:
    """Read a card of the package by name, or any card by path.

    Raises:
        DataError: no such card, not TOML, or a field is missing, unknown or impossible; the message names it.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        if not path.exists():
            raise DataError(
                f"the card {path} does not exist",
                expected="a TOML file",
                fix="check the path, or see `medsam cards` for the cards that come along",
            )
        with guarded(path, "a data set card (TOML)"):
            return parse_card(read_text(path, "a data set card (TOML)"), str(path))
    known = find_shipped_cards()
    if str(name_or_path) not in known:
        close = [name for name in known if str(name_or_path).lower()[:4] in name]
        raise DataError(
            f"no card is called {str(name_or_path)!r}",
            expected="a name from `medsam cards`, or a .toml file",
            fix=f"try {', '.join(close[:4]) or 'medsam cards'}",
        )
    return parse_card(known[str(name_or_path)].read_text(encoding="utf-8"), str(name_or_path))


def parse_card(text: str, origin: str) -> Card:
    """Make a Card of TOML text; `origin` is named in errors.

    Raises:
        DataError: as load_card.
    """
    try:
        raw = tomllib.loads(text)
        return _card(raw, text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(
            f"card {origin} is not TOML ({error})", expected="a TOML card", fix="see docs/curation.md for an example"
        ) from None
    except _CardFault as fault:
        raise DataError(
            f"card {origin}: {fault.got}",
            expected=fault.expected,
            fix="correct the card; docs/curation.md explains every field",
        ) from None


class _CardFault(Exception):
    def __init__(self, got: str, expected: str) -> None:
        super().__init__(got)
        self.got, self.expected = got, expected


_TEXTS = ("name", "version", "licence", "citation", "modality")
_TABLES = {"images", "masks", "targets", "exclude"}


def _card(raw: dict[str, object], text: str) -> Card:
    known = {f.name for f in fields(Card)} - {"text"}
    _refuse_unknown(raw, known, "the card")
    for name in _TEXTS:
        if not isinstance(raw.get(name), str) or not str(raw[name]).strip():
            raise _CardFault(f"{name} is {raw.get(name)!r}", "a text")
    if raw.get("dimension") not in (2, 3):
        raise _CardFault(f"dimension is {raw.get('dimension')!r}", "2 or 3")
    plain = {k: v for k, v in raw.items() if k not in _TABLES and k not in ("modality", "ignore_ids")}
    _check_types(plain, Card, "the card")
    card = Card(
        **plain,  # type: ignore[arg-type]
        modality=_modality(str(raw["modality"])),
        images=_images(_table(raw, "images")),
        masks=_masks(_table(raw, "masks", optional=True)),
        targets=_targets(_table(raw, "targets")),
        exclude=_texts(_table(raw, "exclude", optional=True), "exclude"),
        ignore_ids=_ids(raw.get("ignore_ids", []), "ignore_ids"),
        text=text,
    )
    _check_whole(card)
    return card


def _images(raw: dict[str, object]) -> CardImages:
    path = raw.get("path")
    paths = (path,) if isinstance(path, str) else tuple(path) if isinstance(path, list) else ()
    if not paths or not all(isinstance(p, str) for p in paths):
        raise _CardFault(f"images.path is {path!r}", "a template or a list of templates")
    rest = {k: v for k, v in raw.items() if k not in ("path", "where", "group_ends")}
    _refuse_unknown(raw, {f.name for f in fields(CardImages)}, "[images]")
    _check_types(rest, CardImages, "[images]")
    ends = _ids(raw.get("group_ends", []), "images.group_ends")
    where = _texts(raw.get("where", {}), "images.where")
    return CardImages(path=cast("tuple[str, ...]", paths), where=where, group_ends=ends, **rest)  # type: ignore[arg-type]


def _masks(raw: dict[str, object]) -> CardMasks:
    _refuse_unknown(raw, {f.name for f in fields(CardMasks)}, "[masks]")
    _check_types(raw, CardMasks, "[masks]")
    return CardMasks(**raw)  # type: ignore[arg-type]


def _targets(raw: dict[str, object]) -> tuple[CardTarget, ...]:
    if not raw:
        raise _CardFault("[targets] is empty", "at least one target, as liver = 1")
    return tuple(_target(name, value) for name, value in raw.items())


def _target(name: str, value: object) -> CardTarget:
    if not isinstance(value, dict):
        return CardTarget(name, _ids(value, f"targets.{name}"))
    _refuse_unknown(value, {f.name for f in fields(CardTarget)} - {"name"}, f"[targets.{name}]")
    rest = {k: v for k, v in value.items() if k not in ("ids", "when")}
    _check_types(rest, CardTarget, f"[targets.{name}]")
    return CardTarget(
        name,
        _ids(value.get("ids", "any"), f"targets.{name}.ids"),
        when=_texts(value.get("when", {}), f"targets.{name}.when"),
        **rest,
    )


def _ids(value: object, where: str) -> tuple[int, ...]:
    if value == "any":
        return ()
    ids = value if isinstance(value, list) else [value]
    if not ids and where not in ("ignore_ids", "images.group_ends"):
        raise _CardFault(f"{where} is empty", 'label ids, or "any"')
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise _CardFault(f"{where} is {value!r}", 'whole numbers from 0, or "any"')
    return tuple(ids)


def _table(raw: dict[str, object], name: str, *, optional: bool = False) -> dict[str, object]:
    value = raw.get(name, {} if optional else None)
    if not isinstance(value, dict):
        raise _CardFault(f"[{name}] is {value!r}", "a table")
    return value


def _texts(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise _CardFault(f"{where} is {value!r}", "a table of texts")
    return dict(value)


def _refuse_unknown(raw: Mapping[str, object], known: set[str], where: str) -> None:
    unknown = sorted(set(raw) - known)
    if unknown:
        raise _CardFault(f"{where} has the unknown field {unknown[0]!r}", f"one of {', '.join(sorted(known))}")


_CHOICES: dict[str, tuple[object, ...]] = {
    "kind": get_args(MaskKind),
    "form": (*get_args(MaskForm), *get_args(ImageForm)),
    "pick": get_args(Pick),
    "grid": get_args(MaskGrid),
    "plane": get_args(Plane),
    "group_kind": get_args(GroupKind),
}
_KINDS: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "int | None": (int,),
    "float | None": (int, float),
}


def _check_types(raw: Mapping[str, object], kind: type, where: str) -> None:
    """Each value against its field: one of the choices, or of the field's type (a text where nothing else is said)."""
    annotations = {f.name: str(f.type) for f in fields(kind)}
    for name, value in raw.items():
        if name in _CHOICES:
            if value not in _CHOICES[name]:
                raise _CardFault(f"{where} has {name} = {value!r}", f"one of {', '.join(map(str, _CHOICES[name]))}")
            continue
        wanted = _KINDS.get(annotations[name], (str,)) if name != "dimension" else (int,)
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            raise _CardFault(f"{where} has {name} = {value!r}", " or ".join(w.__name__ for w in wanted))


def _modality(text: str) -> Modality:
    try:
        return parse_modality(text)
    except MedsamError as error:
        raise _CardFault(error.got, error.expected) from None


def _check_whole(card: Card) -> None:
    """What only the card as a whole can show."""
    if any(mark in card.name for mark in "/\\ ") or card.name.startswith("."):
        raise _CardFault(f"name is {card.name!r}", "a name without slashes or blanks")
    if card.masks.path is None and any(target.path is None for target in card.targets):
        lost = next(target.name for target in card.targets if target.path is None)
        raise _CardFault(f"target {lost!r} has no mask file", "masks.path, or a path for every target")
    windows = [card.window, *(target.window for target in card.targets)]
    for window in filter(None, windows):
        try:
            parse_window(window)
        except MedsamError as error:
            raise _CardFault(error.got, error.expected) from None
    if card.modality is not Modality.CT and any(windows):
        raise _CardFault(f"a window for {card.modality}", "windows for CT only")
    paths = [*card.images.path, card.masks.path or "", *(t.path or "" for t in card.targets)]
    if any(p.startswith("/") or ".." in p.split("/") for p in paths):
        raise _CardFault(
            f"a path is {next(p for p in paths if p.startswith('/') or '..' in p)!r}", "paths below the root"
        )
    if any("\0" in p for p in paths):
        raise _CardFault("a path holds a null character", "paths below the root")
    _check_patterns(card, paths)
    if card.images.table is None:
        _check_mask_paths(card)


def _check_patterns(card: Card, paths: list[str]) -> None:
    """Every pattern of the card can be compiled."""
    wheres = [*card.images.where.values(), *(p for target in card.targets for p in target.when.values())]
    templates = [make_pattern(path, {}) for path in (*paths, card.images.match or "")]
    for pattern in (*wheres, *templates):
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            raise _CardFault(f"a pattern that cannot be read ({error})", "regular expressions") from None


def _check_mask_paths(card: Card) -> None:
    """No mask path fits the masks of other images: that would make pairs of every mask with every image."""
    for image in card.images.path:
        bound = find_fields(image)
        if not TOKEN.search(image):
            continue  # one image, which may have any mask
        for mask in {target.path or card.masks.path or "" for target in card.targets}:
            wildcard = find_wildcard(mask, bound)
            if wildcard:
                raise _CardFault(
                    f"in the mask path {mask!r} {wildcard}",
                    f"the fields of {image!r}: {', '.join(sorted(bound)) or 'it has none'}",
                )
