"""`medsam demo`: real images that installed packages carry, segmented with real weights, in one contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medsam.inference.predictor import Predictor

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Case:
    """One image of the demo and what a reader drew on it.

    Args:
        name: Of the files it leaves.
        package: Installed package that carries the image.
        file: Path inside the package.
        modality: Name of it.
        slice: The slice drawn on.
        boxes: x0 y0 x1 y1 in slice pixels, one per object.
        window: CT window.
        plane: Plane drawn on, where it is not the file's first axis; its picture is turned head up.
    """

    name: str
    package: str
    file: str
    modality: str
    boxes: tuple[Box, ...]
    slice: int = 0
    window: str | None = None
    plane: str | None = None


PYDICOM = "data/test_files"
CASES = (
    Case("mr-abdomen", "pydicom", f"{PYDICOM}/examples_overlay.dcm", "MR", ((116, 186, 186, 252), (286, 194, 352, 252), (48, 78, 184, 198), (352, 116, 402, 242))),
    Case("ct-vertebra", "pydicom", f"{PYDICOM}/CT_small.dcm", "CT", ((39, 5, 82, 49), (71, 0, 112, 29)), window="bone"),
    Case("us-heart", "pydicom", f"{PYDICOM}/examples_ybr_color.dcm", "ultrasound", ((160, 55, 200, 135),)),
    Case("fundus-disc", "skimage", "data/retina.jpg", "fundus", ((110, 550, 330, 760),)),
    Case("pathology-gland", "skimage", "data/ihc.png", "pathology", ((250, 300, 388, 506), (268, 0, 460, 302))),
    Case("mr-brain", "nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz", "MR", ((88, 18, 130, 75),), slice=98, plane="sagittal"),
)  # fmt: skip


def demo(
    *, output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("demo"), model: str | None = None
) -> None:
    """Segment six real images of five modalities and make one picture of them.

    Parameters
    ----------
    output
        Folder for masks, pictures and contact-sheet.png.
    model
        Catalog name or weights file; the default model without it.
    """
    from PIL import Image as Picture

    from medsam.imaging.overlay import contact_sheet
    from medsam.inference.predictor import load_predictor
    from medsam.io.atomic import replacing

    sources = [_source(case) for case in CASES]
    predictor = load_predictor(model)
    pictures = []
    for case, source in zip(CASES, sources, strict=True):
        picture, line = _run(case, source, predictor, output)
        pictures.append(picture)
        print(line)
    sheet = output / "contact-sheet.png"
    with replacing(sheet) as temporary:
        Picture.fromarray(contact_sheet(pictures, columns=3, tile_px=480)).save(temporary, format="PNG")
    print(f"masks and pictures are in {output}/; look at {sheet}")


def _source(case: Case) -> Path:
    from importlib.util import find_spec

    from medsam.errors import InputFileError, MissingDependencyError

    spec = find_spec(case.package)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"{case.package} is not installed",
            expected="the packages that carry the demo's images",
            fix="run: pip install 'openmedsam[demo]'",
        )
    path = Path(spec.origin).parent / case.file
    if not path.is_file():
        raise InputFileError(
            f"{case.package} does not carry {case.file}",
            expected="the image of the demo",
            fix=f"install another version of {case.package}",
        )
    return path


def _run(case: Case, source: Path, predictor: Predictor, output: Path) -> tuple[NDArray[np.uint8], str]:
    import time

    from PIL import Image as Picture

    from medsam.imaging.intensity import normalize
    from medsam.imaging.overlay import captioned, overlay
    from medsam.imaging.prompts import Prompt
    from medsam.inference.prompted import segment_prompts
    from medsam.io.atomic import replacing
    from medsam.io.formats import read_image, write_mask

    start = time.perf_counter()
    stored = normalize(read_image(source, modality=case.modality), window=case.window)
    axis = stored.grid.axis_named(case.plane) if case.plane else 0
    image = stored.moved_axis(axis)
    prompts = [Prompt(label=i, slice=case.slice, box=box) for i, box in enumerate(case.boxes, start=1)]
    result = segment_prompts(predictor, image, prompts)
    flat = image.grid.shape[0] == 1
    mask_path = output / f"{case.name}-mask{'.png' if flat else '.nii.gz'}"
    write_mask(result.mask.restored_axis(axis), mask_path)
    picture = overlay(image.slice_rgb(case.slice), result.mask.labels[case.slice], boxes=case.boxes, side_px=480)
    picture = captioned(picture[::-1] if case.plane else picture, f"{case.name} ({case.modality})")
    with replacing(output / f"{case.name}.png") as temporary:
        Picture.fromarray(picture).save(temporary, format="PNG")
    seconds = time.perf_counter() - start
    sizes = ", ".join(str(int((result.mask.labels == prompt.label).sum())) for prompt in prompts)
    return (
        picture,
        f"{case.name:<16} {case.modality:<11} {len(prompts)} boxes, {sizes} pixels, {seconds:.1f} s -> {mask_path}",
    )
