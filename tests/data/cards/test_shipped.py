"""Every card of a public set on a small tree of its published layout: cases, groups and targets are found, nothing is at fault."""

from __future__ import annotations

import pytest
from published_layouts import make

from medsam.data.cards.card import find_shipped_cards, load_card
from medsam.data.cases.case import read_case
from medsam.data.cases.paths import find_cases, forget_listings


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
    public = {name for name in find_shipped_cards() if not name.startswith("shared-")}
    assert public == set(LAYOUTS)
    assert len(public) >= 25


@pytest.mark.parametrize("name", LAYOUTS)
def test_card_fits_the_published_layout(name, tmp_path):
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


def test_no_name_id_or_date_of_dicom_reaches_the_store(tmp_path):
    import json

    from medsam.data.store.curate import CuratedSource, curate
    from medsam.data.store.tables import read_table

    for line in LAYOUTS["chaos-mr"][0]:
        make(tmp_path / "raw", line)
    (tmp_path / "raw/MR/1/T2SPIR/Ground/m000.png").unlink()  # a fault, whose detail must be clean as well
    report = curate([CuratedSource(load_card("chaos-mr"), tmp_path / "raw")], tmp_path / "s")
    assert (report.counts["chaos-mr"].summary.cases_read, report.counts["chaos-mr"].faults) == (3, 1)
    files = [p for p in (tmp_path / "s").rglob("*") if p.is_file()]
    text = json.dumps([read_table(p).to_pylist() for p in files if p.suffix == ".parquet"], default=str)
    for token in ("Canary", "CANARYID", "CANARYACC", "19010203", "19990809"):
        assert token not in text
        assert all(token.encode() not in p.read_bytes() for p in files)
