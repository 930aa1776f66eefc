"""Every card of a public set on a small tree of its published layout: cases, groups and targets are found, nothing is at fault.

A layout is lines of "kind path [values]": ct, mr, mr4 (several channels) and seg are volumes, grey, rgb and mask are pictures,
dicom is a folder of slices, and so on; each kind is a function below.
"""

from __future__ import annotations

import plistlib
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image as Picture
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medsam.data.cards import load_card, shipped
from medsam.data.cases import read_case
from medsam.data.layout import find_cases, forget_listings

D, H, W = 8, 48, 96
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


def msd(case: str, values: str, image: str = "ct", channels: int = 0) -> list[str]:
    head = f"mr4 imagesTr/{case}.nii.gz = {channels}" if channels else f"{image} imagesTr/{case}.nii.gz"
    return [head, f"seg labelsTr/{case}.nii.gz = {values}", "text imagesTr/._hidden.nii.gz = x"]


IDS13, IDS15, IDS16 = (",".join(map(str, range(1, n + 1))) for n in (13, 15, 16))
CBIS = "Mass-Training_P_00001_LEFT_CC"

# For each card the lines of its tree, how many cases and how many groups there are.
LAYOUTS: dict[str, tuple[list[str], int, int]] = {
    "msd-brain": (msd("BRATS_001", "1,2,3", channels=4), 1, 1),
    "msd-heart": (msd("la_003", "1", "mr"), 1, 1),
    "msd-liver": (msd("liver_0", "1,2"), 1, 1),
    "msd-hippocampus": (msd("hippocampus_001", "1,2", "mr"), 1, 1),
    "msd-prostate": (msd("prostate_00", "1,2", channels=2), 1, 1),
    "msd-lung": (msd("lung_001", "1"), 1, 1),
    "msd-pancreas": (msd("pancreas_001", "1,2"), 1, 1),
    "msd-hepatic-vessel": (msd("hepaticvessel_001", "1,2"), 1, 1),
    "msd-spleen": (msd("spleen_2", "1"), 1, 1),
    "msd-colon": (msd("colon_001", "1"), 1, 1),
    "flare22": (["ct images/FLARE22_Tr_0001_0000.nii.gz", f"seg labels/FLARE22_Tr_0001.nii.gz = {IDS13}"], 1, 1),
    "amos22-ct": (["ct imagesTr/amos_0001.nii.gz", f"seg labelsTr/amos_0001.nii.gz = {IDS15}", "mr imagesTr/amos_0507.nii.gz"], 1, 1),
    "amos22-mr": (["mr imagesTr/amos_0507.nii.gz", f"seg labelsTr/amos_0507.nii.gz = {IDS15}", "ct imagesTr/amos_0500.nii.gz", "ct imagesTr/amos_0001.nii.gz"], 1, 1),
    "totalsegmentator": (["ct s0000/ct.nii.gz", "seg s0000/segmentations/liver.nii.gz = 1", "seg s0000/segmentations/lung_upper_lobe_left.nii.gz = 1"], 1, 1),
    "brats21": ([*(f"mr BraTS2021_00000/BraTS2021_00000_{s}.nii.gz" for s in ("flair", "t1", "t1ce", "t2")), "seg BraTS2021_00000/BraTS2021_00000_seg.nii.gz = 1,2,4"], 4, 1),
    "acdc": (
        [f"{k} training/patient001/patient001_frame{f}.nii.gz{v}" for f, k, v in (("01", "mr", ""), ("12", "mr", ""), ("01_gt", "seg", " = 1,2,3"), ("12_gt", "seg", " = 1,2,3"))]
        + ["mr4 training/patient001/patient001_4d.nii.gz = 2", "text training/patient001/Info.cfg = x"],
        2,
        1,
    ),
    "kits23": (["ct case_00000/imaging.nii.gz", "seg case_00000/segmentation.nii.gz = 1,2,3"], 1, 1),
    "lits": (["ct Training Batch 1/volume-0.nii", "seg Training Batch 1/segmentation-0.nii = 1,2"], 1, 1),
    "chaos-ct": (["dicom CT/1/DICOM_anon = 1", "stack CT/1/Ground = 255"], 1, 1),
    "chaos-mr": (
        ["dicom-mr MR/1/T2SPIR/DICOM_anon", "stack MR/1/T2SPIR/Ground = 63,126,189,252", "dicom-mr MR/1/T1DUAL/DICOM_anon/InPhase", "dicom-mr MR/1/T1DUAL/DICOM_anon/OutPhase", "stack MR/1/T1DUAL/Ground = 63,126,189,252"],
        3,
        1,
    ),
    "promise12": (["mr TrainingData/Case00.mhd", "seg TrainingData/Case00_segmentation.mhd = 1"], 1, 1),
    "kvasir-seg": (["rgb images/cju0qkwl35piu0993l0dewei2.jpg", "mask masks/cju0qkwl35piu0993l0dewei2.jpg = 255"], 1, 1),
    "cvc-clinicdb": ([line for n in (1, 25, 26, 612) for line in (f"rgb Original/{n}.tif", f"mask Ground Truth/{n}.tif = 255")], 4, 3),
    "isic2018-task1": (["rgb ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg", "mask ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png = 255"], 1, 1),
    "busi": (["grey benign/benign (1).png", "mask benign/benign (1)_mask.png = 255", "mask benign/benign (1)_mask_1.png = 0,255", "grey normal/normal (1).png", "mask normal/normal (1)_mask.png = 0"], 1, 1),
    "camus": ([f"{k} patient0001/patient0001_{v}_ED{g}.nii.gz{m}" for v in ("2CH", "4CH") for k, g, m in (("grey", "", ""), ("mask", "_gt", " = 1,2,3"))], 2, 1),
    "hc18": (["grey training_set/000_HC.png", "outline training_set/000_HC_Annotation.png", "grey training_set/010_2HC.png", "outline training_set/010_2HC_Annotation.png"], 2, 2),
    "jsrt": (["grey All247images/JPCLN001.IMG", *(f"mask fold1/masks/{n}/JPCLN001.gif = 255" for n in ("left lung", "right lung", "heart", "left clavicle", "right clavicle"))], 1, 1),
    "montgomery": (["grey CXR_png/MCUCXR_0001_0.png", "mask ManualMask/leftMask/MCUCXR_0001_0.png = 1", "mask ManualMask/rightMask/MCUCXR_0001_0.png = 0,1"], 1, 1),
    "shenzhen": (["grey CXR_png/CHNCXR_0001_0.png", "mask mask/CHNCXR_0001_0_mask.png = 255,0,255"], 1, 1),
    "refuge": (["rgb REFUGE-Training400/Training400/Glaucoma/g0001.jpg", "cup Annotation-Training400/Annotation-Training400/Disc_Cup_Masks/Glaucoma/g0001.bmp"], 1, 1),
    "drishti-gs": (["rgb Training/Images/drishtiGS_002.png", *(f"mask Training/GT/drishtiGS_002/SoftMap/drishtiGS_002_{n}segSoftmap.png = 192,64" for n in ("OD", "cup"))], 1, 1),
    "glas": (["rgb train_1.bmp", "mask train_1_anno.bmp = 1,2,3", "rgb train_2.bmp", "mask train_2_anno.bmp = 1", "text Grade.csv = name,patient ID, grade (GlaS)|train_1,7, benign|train_2,7, malignant|"], 2, 1),
    "monuseg": (["rgb Tissue Images/TCGA-18-5592-01Z-00-DX1.tif", "aperio Annotations/TCGA-18-5592-01Z-00-DX1.xml"], 1, 1),
    "cbis-ddsm": (
        [
            f"mammo {CBIS}/07-20-2016-DDSM-74994/1.000000-full mammogram images-24515/1-1.dcm",
            f"crop {CBIS}_1/07-21-2016-DDSM-16486/1.000000-ROI mask images-18515/1-1.dcm",
            f"mammo {CBIS}_1/07-21-2016-DDSM-16486/1.000000-ROI mask images-18515/1-2.dcm = 255",
        ],
        1,
        1,
    ),
    "inbreast": (["mammo AllDICOMs/20586908_6c613a14b80a8591_MG_R_CC_ANON.dcm", "plist AllXML/20586908.xml"], 1, 1),
    "lidc-idri": (["dicom LIDC-IDRI-0001/01-01-2000-30178/3000566.000000-03192", "lidc LIDC-IDRI-0001/01-01-2000-30178/3000566.000000-03192/069.xml"], 1, 1),
    "btcv": (["ct Training/img/img0001.nii.gz", f"seg Training/label/label0001.nii.gz = {IDS13}"], 1, 1),
    "word": (["ct imagesTr/word_0002.nii.gz", f"seg labelsTr/word_0002.nii.gz = {IDS16}"], 1, 1),
    "covid-19-ct-seg": (["ct COVID-19-CT-Seg_20cases/coronacases_001.nii.gz", "seg Lung_and_Infection_Mask/coronacases_001.nii.gz = 1,2,3"], 1, 1),
    "lasc18": (["mr 06SR5RBREL16DQ6M8LWS/lgemri.nrrd", "seg 06SR5RBREL16DQ6M8LWS/laendo.nrrd = 255"], 1, 1),
    "verse": (["ct dataset-01training/rawdata/sub-verse004/sub-verse004_ct.nii.gz", "seg dataset-01training/derivatives/sub-verse004/sub-verse004_seg-vert_msk.nii.gz = 20,21,22"], 1, 1),
    "ph2": (["rgb IMD002/IMD002_Dermoscopic_Image/IMD002.bmp", "mask IMD002/IMD002_lesion/IMD002_lesion.bmp = 255"], 1, 1),
    "segthor": (["ct Patient_01/Patient_01.nii.gz", "seg Patient_01/GT.nii.gz = 1,2,3,4"], 1, 1),
    "dsb2018": (["rgb 00ae65/images/00ae65.png", "mask 00ae65/masks/a.png = 255", "mask 00ae65/masks/b.png = 0,255"], 1, 1),
}  # fmt: skip


def test_every_public_card_has_a_layout_here():
    public = {name for name in shipped() if not name.startswith("shared-")}
    assert public == set(LAYOUTS)
    assert len(public) >= 25


@pytest.mark.parametrize("name", LAYOUTS)
def test_card_fits_the_published_layout(name, tmp_path, monkeypatch):
    from medsam.data import quality

    monkeypatch.setattr(quality, "MIN_VOXELS", 20)  # the trees are small
    monkeypatch.setattr(quality, "MIN_PIXELS", 8)
    lines, cases_wanted, groups_wanted = LAYOUTS[name]
    for line in lines:
        make(tmp_path, line)
    forget_listings()
    card = load_card(name)
    cases = find_cases(card, tmp_path)
    assert len(cases) == cases_wanted, [case.image for case in cases]
    assert len({case.group for case in cases}) == groups_wanted, [case.group for case in cases]
    results = [read_case(card, case, tmp_path) for case in cases]
    assert [e for r in results for e in r.excluded if e.is_fault] == []
    found = {pair.target for r in results for s in r.slices for pair in s.pairs}
    present = {t.name for case in cases for mask in case.masks for t in mask.targets if mask.files and not t.branching}
    assert found == present


def test_stacked_masks_follow_the_names_of_the_dicom_files(tmp_path):
    """z falls while names rise: mask 0 belongs to the highest slice."""
    dicom(tmp_path / "CT/1/DICOM_anon", D, descending=True)
    for k in range(D):
        labels = blocks([255], (H, W)) if k < 2 else np.zeros((H, W), np.uint8)
        save(tmp_path / f"CT/1/Ground/m{k}.png", labels)
    forget_listings()
    card = load_card("chaos-ct")
    result = read_case(card, find_cases(card, tmp_path)[0], tmp_path)
    assert [s.index for s in result.slices] == [D - 2, D - 1]


def test_lidc_voxels_need_two_readers_and_exclude_the_outline(tmp_path):
    for line in LAYOUTS["lidc-idri"][0]:
        make(tmp_path, line)
    forget_listings()
    card = load_card("lidc-idri")
    result = read_case(card, find_cases(card, tmp_path)[0], tmp_path)
    assert [s.index for s in result.slices] == [1, 2, 3, 4, 5]
    assert {(p.area_px, p.box) for s in result.slices for p in s.pairs} == {(19 * 19, (11, 6, 29, 24))}


def test_no_name_id_or_date_of_dicom_reaches_the_store(tmp_path):
    import json

    from medsam.data.catalogue import read_table
    from medsam.data.curate import Source, curate

    for line in LAYOUTS["chaos-mr"][0]:
        make(tmp_path / "raw", line)
    (tmp_path / "raw/MR/1/T2SPIR/Ground/m000.png").unlink()  # a fault, whose detail must be clean as well
    report = curate([Source(load_card("chaos-mr"), tmp_path / "raw")], tmp_path / "s")
    assert (report.counts["chaos-mr"].summary.cases_read, report.counts["chaos-mr"].faults) == (3, 1)
    files = [p for p in (tmp_path / "s").rglob("*") if p.is_file()]
    text = json.dumps([read_table(p).to_pylist() for p in files if p.suffix == ".parquet"], default=str)
    for token in ("Canary", "CANARYID", "CANARYACC", "19010203", "19990809"):
        assert token not in text
        assert all(token.encode() not in p.read_bytes() for p in files)
