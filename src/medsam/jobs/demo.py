"""The demo: real images that installed packages carry, segmented with real weights, in one contact sheet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from medsam.errors import InputFileError, MissingDependencyError
from medsam.imaging.boxes import Box
from medsam.imaging.intensity import normalize
from medsam.imaging.overlay import draw_overlay, tile_pictures, write_caption
from medsam.imaging.prompts import Prompt
from medsam.io.formats import read_image, write_mask
from medsam.io.pictures.raster import save_picture
from medsam.jobs.options import FileOptions, IntensityOptions
from medsam.jobs.outputs import check_outputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medsam.inference.predictor import Predictor


@dataclass(frozen=True)
class DemoImage:
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
DEMO_IMAGES = (
    DemoImage("mr-abdomen", "pydicom", f"{PYDICOM}/examples_overlay.dcm", "MR", ((116, 186, 186, 252), (286, 194, 352, 252), (48, 78, 184, 198), (352, 116, 402, 242))),
    DemoImage("ct-vertebra", "pydicom", f"{PYDICOM}/CT_small.dcm", "CT", ((39, 5, 82, 49), (71, 0, 112, 29)), window="bone"),
    DemoImage("us-heart", "pydicom", f"{PYDICOM}/examples_ybr_color.dcm", "ultrasound", ((160, 55, 200, 135),)),
    DemoImage("fundus-disc", "skimage", "data/retina.jpg", "fundus", ((110, 550, 330, 760),)),
    DemoImage("pathology-gland", "skimage", "data/ihc.png", "pathology", ((250, 300, 388, 506), (268, 0, 460, 302))),
    DemoImage("mr-brain", "nilearn", "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz", "MR", ((88, 18, 130, 75),), slice=98, plane="sagittal"),
)  # fmt: skip


def run_demo(output: Path, model: str | None, tell: Callable[[str], None], *, overwrite: bool = False) -> Path:
    """Segment six real images of five modalities and make one picture of them.

    Args:
        output: Folder for masks, pictures, contact-sheet.png and a project of the images.
        model: Catalog name or weights file; the default model without it.
        tell: Called with a line for each image.
        overwrite: Whether files that exist are replaced.

    Returns:
        The contact sheet.

    Raises:
        OutputError: a file exists or cannot be written. MissingDependencyError: a package that carries an image is not
            installed. ModelUnavailableError: no such model.
    """

    from medsam.inference.predictor import load_predictor

    sheet = output / "contact-sheet.png"
    endings = (".png", "-mask.png", "-mask.nii.gz")
    pictures_and_masks = [output / f"{case.name}{ending}" for case in DEMO_IMAGES for ending in endings]
    check_outputs([sheet, *pictures_and_masks], [], overwrite=overwrite)
    sources = [_source(case) for case in DEMO_IMAGES]
    predictor = load_predictor(model)
    pictures = []
    for case, source in zip(DEMO_IMAGES, sources, strict=True):
        picture, line = _run(case, source, predictor, output)
        pictures.append(picture)
        tell(line)
    save_picture(sheet, tile_pictures(pictures, columns=3, tile_px=480))
    _keep_project(output, sources)
    return sheet


def _keep_project(output: Path, sources: Sequence[Path]) -> None:
    """Make the folder a project of the same images, for medsam open; one that is there is kept with what was drawn."""
    from medsam.annotation.study.database import FILE
    from medsam.annotation.study.project import create_project, open_project
    from medsam.jobs.project import add_scan

    with open_project(output) if (output / FILE).is_file() else create_project(output) as project:
        known = {case.source for case in project.cases()}
        for case, source in zip(DEMO_IMAGES, sources, strict=True):
            if str(source.resolve()) not in known:
                add_scan(project, source, FileOptions(), IntensityOptions(case.modality, case.window))


def _source(case: DemoImage) -> Path:
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


def _run(case: DemoImage, source: Path, predictor: Predictor, output: Path) -> tuple[NDArray[np.uint8], str]:

    from medsam.inference.volume.segment import segment

    start = time.perf_counter()
    stored = normalize(read_image(source, modality=case.modality), window=case.window)
    axis = stored.grid.find_axis(case.plane) if case.plane else 0
    image = stored.move_axis(axis)
    prompts = [Prompt(label=i, slice=case.slice, box=box) for i, box in enumerate(case.boxes, start=1)]
    result = segment(predictor, image, prompts)
    flat = image.grid.shape[0] == 1
    mask_path = output / f"{case.name}-mask{'.png' if flat else '.nii.gz'}"
    write_mask(result.mask.restore_axis(axis), mask_path)
    picture = draw_overlay(image.slice_rgb(case.slice), result.mask.labels[case.slice], boxes=case.boxes, side_px=480)
    picture = write_caption(picture[::-1] if case.plane else picture, f"{case.name} ({case.modality})")
    save_picture(output / f"{case.name}.png", picture)
    seconds = time.perf_counter() - start
    sizes = ", ".join(str(int((result.mask.labels == prompt.label).sum())) for prompt in prompts)
    return (
        picture,
        f"{case.name:<16} {case.modality:<11} {len(prompts)} boxes, {sizes} pixels, {seconds:.1f} s -> {mask_path}",
    )
