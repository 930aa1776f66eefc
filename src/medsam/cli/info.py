"""`medsam info`: what a file holds, where it lies, and what medsam would do with it. No name, date or UID is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medsam.cli.flags import FileFlags, IntensityFlags, ThisTerminal
from medsam.jobs.options import FileOptions, IntensityOptions

if TYPE_CHECKING:
    from medsam.jobs.info import Facts

WORDS = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "I": "inferior", "S": "superior"}


def info(
    file: Path,
    /,
    *,
    model: str | None = None,
    reference: Path | None = None,
    choice: FileFlags = FileOptions(),
    intensity: IntensityFlags = IntensityOptions(),
    terminal: ThisTerminal,
) -> None:
    """Show shape, spacing, orientation, values and modality of an image or mask, and what would be done with it.

    Args:
        file: An image file, a mask file, a DICOM folder, or a series of a PACS.
        model: Catalog name or weights file whose frame is shown; the default model without it.
        reference: The image a mask belongs to, for contours and surfaces, which have no voxels of their own.
    """
    from medsam.jobs.info import InfoRequest, describe_file

    facts = describe_file(InfoRequest(file, model, reference, choice, intensity))
    terminal.answer(facts, "".join(f"{name:12} {text}\n" for name, text in _lines(facts)))


def _lines(facts: Facts) -> list[tuple[str, str]]:
    lines = [("file", str(facts["file"])), ("format", str(facts["format"]))]
    lines.append(("shape", f"{_by(facts['shape'])} (slices x rows x columns){' RGB' * (facts.get('channels') == 3)}"))
    lines.append(
        ("spacing", f"{_by(facts['spacing_mm'])} mm" if facts["spacing_mm"] else "unknown; distances count in pixels")
    )
    if facts["orientation"]:
        code = str(facts["orientation"])
        to = ", ".join(f"{axis} to {WORDS[c]}" for axis, c in zip(("slices", "rows", "columns"), code, strict=True))
        tilt = f", {facts['oblique_degrees']} degrees oblique" if facts["oblique_degrees"] else ""
        lines.append(("orientation", f"{code}: {to} ({facts['plane']}{tilt})"))
        lines.append(("origin", f"{_by(facts['origin_mm'], ', ')} mm (left, posterior, superior)"))
    if "labels" in facts:
        listed = [f"{item['label']} {item['name'] or ''} ({item['voxels']} voxels)" for item in facts["labels"]]  # type: ignore[attr-defined]
        return [*lines, ("labels", "; ".join(" ".join(text.split()) for text in listed) or "none")]
    return lines + _image_lines(facts)


def _image_lines(facts: Facts) -> list[tuple[str, str]]:
    spoiled = f", {facts['not_finite']} NaN or infinite" if facts["not_finite"] else ""
    span = _by(facts["range"], " to ") if facts["range"] else "no finite value"
    window = facts["window"]
    frame = facts["frame"]
    size, fit = frame["size"], "stretched" if frame["fit"] == "squash" else "padded"  # type: ignore[index]
    return [
        ("values", f"{facts['dtype']}, {span}{spoiled}"),
        ("modality", str(facts["modality"] or "unknown")),
        ("window", f"W{window[0]:g} L{window[1]:g}, from the file" if window else "none in the file"),  # type: ignore[index]
        ("intensities", _intensities(facts)),
        ("model", f"{facts['model']}: a slice becomes {_by(frame['slice_becomes'])} in a {size} x {size} frame, {fit}"),  # type: ignore[index]
        *(
            [("looks like", f"{facts['looks_like']}: add --modality CT --window soft-tissue")]
            if facts["looks_like"]
            else []
        ),
        ("to segment", f"give {', '.join(facts['needed'])}"),  # type: ignore[arg-type]
        ("as", str(facts["command"])),
    ]


def _intensities(facts: Facts) -> str:
    if facts["problem"]:
        return f"cannot be normalized: {facts['problem']}"
    if facts["rule"] == "none":
        return "in [0, 255] already"
    return f"rule {facts['rule']}: {_by(facts['shown_range'], ' to ')} becomes 0 to 255"


def _by(values: object, between: str = " x ") -> str:
    return between.join(f"{value:g}" for value in values)  # type: ignore[attr-defined]
