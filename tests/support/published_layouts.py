"""Small trees in the layouts of published sets, written line by line.

A line is "kind path [values]": ct, mr, mr4 (several channels) and seg are volumes, grey, rgb and mask are pictures, dicom
is a folder of slices, and so on; each kind is a case of make.
"""

from __future__ import annotations

import plistlib
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk
from PIL import Image as Picture
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

D, H, W = 8, 48, 192
AFFINE = np.diag([0.8, 0.8, 2.5, 1.0])
CANARY = "Canary^Patient"


def grey(seed: int = 0, shape: tuple[int, ...] = (H, W)) -> np.ndarray:
    """A gradient with noise: no two pictures alike, never constant."""
    rng = np.random.default_rng(seed)
    return (np.linspace(20, 180, shape[-1]) + rng.integers(0, 40, shape)).astype(np.uint8)


def blocks(values: list[int], shape: tuple[int, ...], background: int = 0) -> np.ndarray:
    """One upright block per value, side by side, 30 rows high (and 6 slices deep)."""
    out = np.full(shape, background, dtype=np.uint16)
    step = shape[-1] // (len(values) + 1)
    inner = out[1:-1] if len(shape) == 3 else out
    for place, value in enumerate(values):
        inner[..., 8 : 8 + shape[-2] * 30 // 48, place * step + 2 : place * step + max(step, 3)] = value
    return out.astype(np.uint8) if out.max() < 256 else out


def save(path: Path, values: np.ndarray) -> None:
    """By suffix, as the sets do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        turned = values.T if values.ndim != 4 else np.moveaxis(values.T, -1, -1)
        nibabel.save(nibabel.Nifti1Image(turned if values.ndim > 2 else values.T[..., None], AFFINE), path)
    elif path.suffix == ".nrrd":
        nrrd.write(
            str(path),
            values.T,
            {
                "space": "left-posterior-superior",
                "space directions": np.diag([0.8, 0.8, 2.5]),
                "space origin": [0, 0, 0],
            },
        )
    elif path.suffix == ".mhd":
        image = sitk.GetImageFromArray(values)
        image.SetSpacing((0.8, 0.8, 2.5))
        sitk.WriteImage(image, str(path))
    elif path.suffix == ".IMG":
        np.tile(values[:32, :64].astype(">u2") * 20, (64, 32)).tofile(path)
    elif path.suffix == ".gif":
        Picture.fromarray(np.asarray(Picture.fromarray(values).resize((1024, 1024), Picture.Resampling.NEAREST))).save(
            path
        )
    else:
        Picture.fromarray(values).save(path)


def dicom(
    folder: Path, depth: int, modality: str = "CT", *, descending: bool = False, values: np.ndarray | None = None
) -> None:
    """Slices named in order; z may fall while names rise, as in some sets."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid(entropy_srcs=[str(folder)])
    for k in range(depth):
        ds = pydicom.Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = {
            "CT": "1.2.840.10008.5.1.4.1.1.2",
            "MR": "1.2.840.10008.5.1.4.1.1.4",
            "MG": "1.2.840.10008.5.1.4.1.1.1.2",
        }[modality]
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[str(folder), str(k)])
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = series + ".1", series, modality
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.StudyDate, ds.AccessionNumber = (
            CANARY,
            "CANARYID",
            "19010203",
            "19990809",
            "CANARYACC",
        )
        ds.FrameOfReferenceUID = series + ".2"
        pixels = grey(k) if values is None else values
        ds.Rows, ds.Columns = pixels.shape
        ds.ImagePositionPatient = [0, 0, (-2.5 if descending else 2.5) * k]
        ds.ImageOrientationPatient, ds.PixelSpacing, ds.InstanceNumber = [1, 0, 0, 0, 1, 0], [0.8, 0.8], k + 1
        if modality == "MG":
            ds.ImagerPixelSpacing = [0.8, 0.8]
        (
            ds.SamplesPerPixel,
            ds.PhotometricInterpretation,
            ds.BitsAllocated,
            ds.BitsStored,
            ds.HighBit,
            ds.PixelRepresentation,
        ) = 1, "MONOCHROME2", 16, 12, 11, 0
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
        ds.PixelData = pixels.astype("<u2").tobytes()
        ds.save_as(folder / f"1-{k + 1:03d}.dcm", enforce_file_format=True)


def aperio() -> str:
    def region(x: int) -> str:
        corners = ((x, 5), (x + 15, 5), (x + 15, 25), (x, 25))
        vertices = "".join(f'<Vertex X="{a}" Y="{b}"/>' for a, b in corners)
        return f"<Region><Vertices>{vertices}</Vertices></Region>"

    return f"<Annotations><Annotation><Regions>{region(5)}{region(40)}</Regions></Annotation></Annotations>"


def lidc(folder: Path) -> str:
    """Two readers on the same 20 x 20 square of the slices 1 to 5; a third alone on another."""
    uids = [str(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in sorted(folder.glob("*.dcm"))]

    def roi(k: int, x0: int) -> str:
        corners = (
            [(x, 5) for x in range(x0, x0 + 20)]
            + [(x0 + 20, y) for y in range(5, 25)]
            + [(x, 25) for x in range(x0 + 20, x0, -1)]
            + [(x0, y) for y in range(25, 5, -1)]
        )
        edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in corners)
        return f"<roi><imageSOP_UID>{uids[k]}</imageSOP_UID><inclusion>TRUE</inclusion>{edges}</roi>"

    sessions = [[roi(k, 10) for k in range(1, 6)], [roi(k, 10) for k in range(1, 6)], [roi(k, 60) for k in range(1, 6)]]
    body = "".join(
        f"<readingSession><unblindedReadNodule>{''.join(rois)}</unblindedReadNodule></readingSession>"
        for rois in sessions
    )
    return f'<LidcReadMessage xmlns="http://www.nih.gov">{body}</LidcReadMessage>'


def make(root: Path, line: str) -> None:
    """One line of a layout."""
    kind, _, rest = line.partition(" ")
    path, _, last = rest.rpartition(" = ") if " = " in rest else (rest, "", "")
    values = [int(v) for v in last.split(",")] if last and kind != "text" else []
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    match kind:
        case "ct":
            save(target, grey(1, (D, H, W)).astype(np.int16) * 6 - 600)
        case "mr":
            save(target, grey(2, (D, H, W)).astype(np.int16))
        case "mr4":
            save(target, np.stack([grey(c, (D, H, W)).astype(np.int16) for c in range(values[0])]))
        case "seg":
            save(target, blocks(values, (D, H, W)))
        case "grey":
            save(target, grey(3))
        case "rgb":
            save(target, np.stack([grey(c) for c in (4, 5, 6)], axis=-1))
        case "mask":
            save(target, blocks(values, (H, W)))
        case "cup":  # REFUGE: 255 outside, 128 the rim, 0 the cup
            save(target, blocks([128, 0], (H, W), 255))
        case "outline":
            ring = blocks([255], (H, W))
            ring[9:37, 3:45] = 0
            save(target, ring)
        case "text":
            target.write_text(last.replace("|", "\n"))
        case "dicom" | "dicom-mr":
            dicom(target, D, "MR" if kind == "dicom-mr" else "CT", descending=bool(values))
        case "mammo":
            dicom(target.parent, 1, "MG", values=grey(7) if not values else blocks(values, (H, W)))
            (target.parent / "1-001.dcm").rename(target)
        case "crop":
            dicom(target.parent / "tmp", 1, "MG", values=grey(8)[:20, :20])
            (target.parent / "tmp" / "1-001.dcm").rename(target)
            (target.parent / "tmp").rmdir()
        case "stack":
            for k in range(D):
                save(target / f"m{k:03d}.png", blocks(values, (D, H, W))[k])
        case "aperio":
            target.write_text(aperio())
        case "plist":
            points = [f"({x}.0, {y}.0)" for x, y in ((5, 5), (40, 5), (40, 30), (5, 30))]
            target.write_bytes(
                plistlib.dumps({"Images": [{"ROIs": [{"Point_px": points}, {"Point_px": ["(1.0, 1.0)"]}]}]})
            )
        case "lidc":
            target.write_text(lidc(target.parent))
        case _:
            raise AssertionError(line)
