"""Every kind of file that comes from outside, as (a good one, how it is read): the table of the fuzz test. Add a row for a new reader."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from fuzzing import Family
from skin_card import CARD

import medsam
from medsam.io.formats import write_image
from medsam.io.prompts import read_prompts

SHAPE = (4, 12, 16)
GRID = medsam.Grid(SHAPE, affine=np.array([[0, 0, -0.8, 50], [0, -0.8, 0, 70], [-5, 0, 0, 300], [0, 0, 0, 1.0]]))


def labels(depth: int = SHAPE[0]) -> np.ndarray:
    """Two boxes of labels 1 and 2 in every slice."""
    out = np.zeros((depth, *SHAPE[1:]), np.uint8)
    out[:, 2:6, 3:9], out[:, 7:11, 5:14] = 1, 2
    return out


def a_mask(name: str, depth: int, folder: Path, **options: str) -> list[Path]:
    grid = GRID if depth == SHAPE[0] else medsam.Grid((depth, *SHAPE[1:]), spacing_mm=(5.0, 0.8, 0.8))
    medsam.write_mask(medsam.Mask(labels(depth), grid, {1: "lesion"}), folder / name, **options)
    return [folder / name]


def an_image(name: str, folder: Path) -> list[Path]:
    values = (np.arange(np.prod(SHAPE)).reshape(SHAPE) - 100).astype(np.int16)
    write_image(medsam.Image(values, GRID), folder / name)
    return [folder / name]


def a_picture(name: str, folder: Path) -> list[Path]:
    from PIL import Image

    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(folder / name)
    return [folder / name]


def a_tiff(folder: Path) -> list[Path]:
    import tifffile

    tifffile.imwrite(
        folder / "a.tif", labels(), compression="deflate", resolution=(20, 20), resolutionunit="CENTIMETER"
    )
    return [folder / "a.tif"]


def an_npz(folder: Path) -> list[Path]:
    boxes = np.array([[3, 2, 8, 5], [5, 7, 13, 10]])
    np.savez_compressed(
        folder / "a.npz",
        imgs=labels() * 90,
        gts=labels(),
        boxes=boxes,
        recist=labels(),
        spacing=np.array([0.8, 0.8, 5.0]),
    )
    return [folder / "a.npz"]


def a_text(name: str, content: object, folder: Path) -> list[Path]:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return [folder / name]


def a_series(folder: Path) -> Path:
    from dicom_phantom import Phantom, write_series

    write_series(folder / "series", Phantom(depth=SHAPE[0], rows=SHAPE[1], columns=SHAPE[2]))
    return folder / "series"


def a_dicom_image(folder: Path) -> list[Path]:
    return sorted(a_series(folder).iterdir())[:1]


def a_dicom_mask(form: str, folder: Path) -> list[Path]:
    series = a_series(folder)
    medsam.write_mask(
        medsam.Mask(labels(), medsam.read_image(series).grid, {1: "lesion"}),
        folder / "mask.dcm",
        reference=series,
        format=form,
    )
    return [folder / "mask.dcm"]


def a_report(folder: Path) -> list[Path]:
    import highdicom as hd
    import pydicom
    from pydicom.sr.codedict import codes

    slices = [pydicom.dcmread(path) for path in sorted(a_series(folder).iterdir())]
    for ds in slices:
        for name in (
            "PatientSex",
            "PatientBirthDate",
            "StudyID",
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "ReferringPhysicianName",
        ):
            setattr(ds, name, ds.get(name, ""))
    observer = hd.sr.ObserverContext(codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes(name="Reader^One"))
    groups = []
    for number, ds in enumerate(slices[:2]):
        source = hd.sr.SourceImageForMeasurement(ds.SOPClassUID, ds.SOPInstanceUID)
        ends = np.array([[2.5, 3.5], [12.5, 8.5]])
        region = hd.sr.CoordinatesForMeasurement(hd.sr.GraphicTypeValues.POLYLINE, ends, source)
        line = hd.sr.Measurement(codes.SCT.LongAxis, 9.0, codes.UCUM.Millimeter, referenced_coordinates=[region])
        tracking = hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=f"lesion {number}")
        groups.append(hd.sr.MeasurementsAndQualitativeEvaluations(tracking, measurements=[line]))
    body = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion, imaging_measurements=groups,
    )  # fmt: skip
    report = hd.sr.ComprehensiveSR(
        evidence=slices, content=body, series_instance_uid=hd.UID(), series_number=2, sop_instance_uid=hd.UID(),
        instance_number=1, manufacturer="Test",
    )  # fmt: skip
    report.save_as(folder / "sr.dcm")
    return [folder / "sr.dcm"]


def a_card(folder: Path) -> list[Path]:
    from medsam.data.cards.card import find_shipped_cards

    text = next(iter(find_shipped_cards().values())).read_text(encoding="utf-8")
    return a_text("card.toml", text, folder)


def a_recipe(folder: Path) -> list[Path]:
    text = 'name = "a"\ndata = ["store"]\nbase = "sam-vit-b"\nlike = "medsam-vit-b"\nepochs = 3\nlearning_rate = 1e-4\n'
    return a_text("recipe.toml", text + 'global_batch = 4\nprompts = ["box", "point"]\n', folder)


def a_store(folder: Path) -> list[Path]:
    from PIL import Image

    from medsam.data.cards.card import parse_card
    from medsam.data.store.curate import CuratedSource, curate

    y, x = np.ogrid[:64, :80]
    picture = np.random.default_rng(0).integers(0, 256, (64, 80), dtype=np.uint8)
    for name, values in (("images", picture), ("masks", ((y - 32) ** 2 + (x - 40) ** 2 < 150).astype(np.uint8))):
        (folder / "in" / name).mkdir(parents=True)
        Image.fromarray(values).save(folder / "in" / name / "p1.png")
    curate([CuratedSource(parse_card(CARD, "test"), folder / "in")], folder / "store")
    inside = folder / "store"
    return [inside / "store.json", *sorted(inside.rglob("zarr.json"))[:3], inside / "catalogue.parquet"]


def a_safetensors(folder: Path) -> list[Path]:
    from tiny import MANIFEST, tiny_model

    from medsam.models.weights.checkpoint import save_checkpoint

    save_checkpoint(tiny_model(), MANIFEST, folder / "a.safetensors")
    return sorted(path for path in folder.iterdir() if path.is_file())[::-1]


def read_both(path: Path) -> None:
    """As an image and as a mask; refused is what both refuse."""
    refused: list[medsam.MedsamError] = []
    for read in (medsam.read_image, medsam.read_mask):
        try:
            read(path)
        except medsam.MedsamError as error:
            refused.append(error)
    if len(refused) == 2:
        raise refused[0]


def read_segments(path: Path) -> None:
    medsam.read_mask(path, reference=GRID, overlap="last")


def read_dicom_mask(path: Path) -> None:
    medsam.read_mask(path, reference=path.parent / "series")


def read_volume_npz(path: Path) -> None:
    from medsam.io.volumes import npz

    npz.read_prompts(path)
    read_both(path)
    read_markers(path)


def read_markers(path: Path) -> None:
    from medsam.annotation.marker_files import Target
    from medsam.annotation.marker_files import read_markers as run

    scan = path.parent / "series"
    target = Target(medsam.read_image(scan).grid, 0, scan) if scan.exists() else Target(GRID)
    run([path], target)


def read_card(path: Path) -> None:
    from medsam.data.cards.card import load_card

    load_card(path)


def read_recipe(path: Path) -> None:
    from medsam.training.config import read_config

    read_config(path)


def read_store(path: Path) -> None:
    from medsam.data.store.reading import Store, check, count_store

    store = Store(path.parent)
    store.pair(0)
    count_store(store)
    check(store)


def read_weights(path: Path) -> None:
    from medsam.models.weights.checkpoint import inspect_checkpoint

    inspect_checkpoint(path)


def _mm(*index: float) -> list[float]:
    return [float(v) for v in GRID.to_world(np.array([index]))[0]]


def _line(*ends: list[float]) -> dict[str, object]:
    points = [{"id": str(i), "label": f"L-{i}", "position": p, "positionStatus": "defined"} for i, p in enumerate(ends)]
    return {"type": "Line", "coordinateSystem": "LPS", "coordinateUnits": "mm", "controlPoints": points}


ROI = {
    "type": "ROI", "coordinateSystem": "LPS", "coordinateUnits": "mm", "center": _mm(1, 5, 7), "size": [3.0, 3.0, 10.0],
    "orientation": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
}  # fmt: skip
SLICER = {"markups": [_line(_mm(1, 4, 5), _mm(1, 9, 8)), _line(_mm(3, 4, 5), _mm(3, 9, 8)), ROI]}
MARKERS = {
    "markers": [
        {"label": 1, "slice": 2, "points": [[1, 2], [6, 9]]},
        {"label": 2, "points_mm": [_mm(1, 4, 5), _mm(1, 9, 8)]},
    ]
}
MARKER_CSV = "label,slice,x0,y0,x1,y1\n1,2,3,4,10,9\n1,2,5,3,6,10\n2,3,1,1,8,8\n"
PROMPTS = {
    "prompts": [
        {"box": [1, 2, 9, 10], "points": [[4, 5, 1], [0, 0, 0]], "slice": 2, "label": 1, "image": "a.png"},
        {"box": [1, 2, 0, 9, 10, 3], "label": 2},
    ]
}
PROMPT_CSV = "image,slice,label,x0,y0,x1,y1,x,y,positive\na.png,1,1,1,2,9,10,,,\na.png,1,1,,,,,4,5,1\n,2,2,1,1,8,9,,,\n"

FAMILIES = {
    family.name: family
    for family in (
        Family("nifti", partial(an_image, "a.nii.gz"), read_both),
        Family("nifti-mask", partial(a_mask, "a.nii", 4), read_both),
        Family("nrrd", partial(a_mask, "a.nrrd", 4), read_both),
        Family("segnrrd", partial(a_mask, "a.seg.nrrd", 4), read_segments),
        Family("nhdr", partial(a_mask, "a.nhdr", 4), read_both),
        Family("mha", partial(a_mask, "a.mha", 4), read_both),
        Family("mhd", partial(a_mask, "a.mhd", 4), read_both),
        Family("npz", an_npz, read_volume_npz),
        Family("png", partial(a_picture, "a.png"), medsam.read_image),
        Family("png-mask", partial(a_mask, "a.png", 1), read_both),
        Family("tiff", a_tiff, read_both),
        Family("bmp", partial(a_picture, "a.bmp"), medsam.read_image),
        Family("jpeg", partial(a_picture, "a.jpg"), medsam.read_image),
        Family("stl", partial(a_mask, "a.stl", 4), read_segments),
        Family("coco", partial(a_mask, "a.json", 1), medsam.read_mask),
        Family("geojson", partial(a_mask, "a.geojson", 1), medsam.read_mask),
        Family("safetensors", a_safetensors, read_weights),
        Family("dicom", a_dicom_image, medsam.read_image),
        Family("seg", partial(a_dicom_mask, "dicom-seg"), read_dicom_mask),
        Family("rtstruct", partial(a_dicom_mask, "rtstruct"), read_dicom_mask),
        Family("sr", a_report, read_markers),
        Family("cards", a_card, read_card),
        Family("recipes", a_recipe, read_recipe),
        Family("store", a_store, read_store),
        Family("mrkjson", partial(a_text, "a.mrk.json", SLICER), read_markers),
        Family("markerjson", partial(a_text, "a.json", MARKERS), read_markers),
        Family("mrkcsv", partial(a_text, "a.csv", MARKER_CSV), read_markers),
        Family("promptjson", partial(a_text, "a.json", PROMPTS), read_prompts),
        Family("promptcsv", partial(a_text, "a.csv", PROMPT_CSV), read_prompts),
    )
}
