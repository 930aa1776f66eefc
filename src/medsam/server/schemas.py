"""What goes over the wire of /api/v1; the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from medsam.imaging.box_options import BetweenSlices, BoxOptions

PlaneName = Literal["stored", "axial", "coronal", "sagittal"]
Number = Annotated[float, Field(allow_inf_nan=False)]
Label = Annotated[int, Field(ge=1, le=65535)]
Index = Annotated[int, Field(ge=0, le=(1 << 31) - 1)]
RevisionId = Annotated[int, Field(ge=1, le=(1 << 63) - 1)]  # as many as a database counts
Pair = tuple[Number, Number]
Four = tuple[Number, Number, Number, Number]
Six = tuple[Number, Number, Number, Number, Number, Number]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    got: str
    expected: str
    fix: str


class WorkerView(BaseModel):
    """Somebody who works in a case now."""

    annotator: str
    idle_seconds: float = Field(description="since the last act: a prompt, a stroke, a save")


class CaseView(BaseModel):
    """A scan of the project."""

    id: str
    number: int
    shape: tuple[int, int, int] = Field(description="D, H, W as stored")
    status: Literal["new", "in work", "done", "reviewed"]
    working: list[WorkerView] = Field(default_factory=list, description="who works in it now")


class PlaneView(BaseModel):
    """One way to cut a scan."""

    axis: int
    slices: int
    height: int
    width: int
    spacing_mm: tuple[float, float, float] | None = Field(description="between slices, rows, columns")


class CaseDetails(CaseView):
    """A scan with its geometry."""

    modality: str | None
    rgb: bool
    window: tuple[float, float] | None = Field(description="stored values shown as black and white")
    affine: list[list[float]] = Field(description="(z, y, x) index to LPS mm")
    planes: dict[PlaneName, PlaneView]
    annotators: list[str]
    pacs: bool = Field(description="whether POST store has a PACS to store masks in")


class StatusChange(_Strict):
    """How far a case is."""

    status: Literal["new", "in work", "done", "reviewed"]


class ObjectView(_Strict):
    """A structure that is outlined."""

    label: Label
    name: Annotated[str, Field(max_length=200)] = ""
    color: tuple[int, int, int] | None = None
    code: tuple[str, str, str] | None = Field(None, description="scheme, value, meaning")


class NamedObject(ObjectView):
    """A structure of a case."""

    locked: bool = Field(False, description="nothing changes it; PATCH it to say otherwise")


class ObjectLock(_Strict):
    """Whether an object may be changed."""

    locked: bool


class HeadView(BaseModel):
    """Where an annotator stands."""

    annotator: str
    version: int = Field(description='send it as If-Match: "vN" with the next write')
    revision: int | None
    kind: str | None = None
    at: float | None = None
    locked: dict[int, list[int]] = Field(default_factory=dict, description="label to stored slices drawn by hand")
    drawn: dict[int, dict[int, list[int]]] = Field(
        default_factory=dict, description="label to array axis to slices drawn by hand across it"
    )


class MoveView(BaseModel):
    """One step of the history."""

    annotator: str
    kind: str
    revision: int | None
    at: float


class PromptIn(_Strict):
    """What was drawn on one slice for one object."""

    plane: PlaneName = "stored"
    slice: Index
    label: Label = 1
    box: Four | None = Field(None, description="x0, y0, x1, y1 in slice pixels")
    points: list[Pair] = Field(default_factory=list, max_length=1000)
    point_labels: list[Literal[0, 1]] = Field(default_factory=list, max_length=1000)
    save: bool = Field(False, description="save the state; needs If-Match")
    axes: list[Pair] = Field(default_factory=list, max_length=4, description="ends of the axes that the box is of")
    release: bool = Field(False, description="overwrite slices that were drawn by hand")
    kept: list[Label] = Field(default_factory=list, max_length=1000, description="objects that are locked")


class PromptView(BaseModel):
    """What was drawn for one object on one slice."""

    label: int
    axis: int = Field(description="the array axis that the slice lies across")
    slice: int
    box: Four | None = None
    points: list[Pair] = Field(default_factory=list)
    point_labels: list[int] = Field(default_factory=list)
    axes: list[Pair] = Field(default_factory=list, description="ends of the axes that the box is of")


class LookedAt(_Strict):
    """The slice that an annotator looks at."""

    plane: PlaneName = "stored"
    slice: Index


class EmbeddingView(BaseModel):
    """Whether a prompt on a slice needs the image encoder first."""

    plane: PlaneName
    slice: int
    embedded: bool


class PacsQuery(_Strict):
    """Which series of the server's PACS are meant."""

    modality: Annotated[str | None, Field(max_length=16)] = None
    patient_id: Annotated[str | None, Field(max_length=64)] = None
    study_date: Annotated[str | None, Field(pattern=r"^\d{8}(-\d{8})?$")] = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class SeriesView(BaseModel):
    """A series of the PACS."""

    study: str
    series: str
    modality: str
    description: str
    instances: int | None


Uid = Annotated[str, Field(pattern=r"^[0-9.]{1,64}$")]
StoreFormat = Literal["dicom-seg", "rtstruct"]


class SeriesIn(_Strict):
    """A series that becomes a case."""

    study: Uid
    series: Uid
    modality: str | None = None
    window: str | None = None


class StoreView(BaseModel):
    """What was stored in the PACS."""

    format: StoreFormat
    stored: int
    instances: list[str] = Field(description="SOPInstanceUIDs of the new objects")


class SliceMask(BaseModel):
    """The mask of one slice as runs: start and length, one after the other, in row-major order."""

    height: int
    width: int
    runs: list[int]


class PromptOut(BaseModel):
    """The answer to a prompt."""

    mask: SliceMask
    score: float
    seconds: dict[str, float]
    head: HeadView | None = Field(None, description="where the annotator stands now, when it was saved")


class ScoreView(BaseModel):
    """How sure the model was of an object on a slice."""

    label: int
    axis: int = Field(description="the array axis that the slice lies across")
    slice: int
    score: float


class JobPrompt(_Strict):
    """A box or points on a slice, or a box through several."""

    label: Label = 1
    slice: Index | None = None
    box: Four | None = None
    points: list[Pair] = Field(default_factory=list, max_length=1000)
    point_labels: list[Literal[0, 1]] = Field(default_factory=list, max_length=1000)
    box_3d: Six | None = Field(None, description="x0, y0, z0, x1, y1, z1, z inclusive")


class JobMarker(_Strict):
    """Ends of the axis lines drawn on a slice."""

    label: Label = 1
    slice: Index
    points: list[Pair] = Field(min_length=1, max_length=1000)


class JobNeighbours(_Strict):
    """An object carried from a slice where it is right to those beside it, until it ends or a slice is drawn by hand."""

    label: Label
    slice: Index
    reach: Annotated[int, Field(ge=1, le=1000, description="slices on each side")] = 5
    stay: list[Index] = Field(default_factory=list, max_length=10000, description="further slices that stay")


class JobIn(_Strict):
    """Whole objects from prompts, from markers, or from a slice that was corrected."""

    plane: PlaneName = "stored"
    prompts: list[JobPrompt] = Field(default_factory=list, max_length=1000)
    markers: list[JobMarker] = Field(default_factory=list, max_length=10000)
    interpolate: bool = Field(False, description="boxes also reach over the slices between them")
    margin_px: Annotated[float, Field(ge=0, le=1000)] | None = BoxOptions.margin_px
    interpolation: BetweenSlices = Field(BoxOptions.interpolation, description="of markers, over slices between")
    max_gap: Annotated[int, Field(ge=1, le=100000)] | None = Field(None, description="between markers that are bridged")
    neighbours: JobNeighbours | None = None
    release: bool = False
    kept: list[Label] = Field(default_factory=list, max_length=1000, description="objects that are locked")


class JobView(BaseModel):
    """How a job stands."""

    id: str
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    done: int = 0
    total: int = 0
    head: HeadView | None = None
    problem: Problem | None = None
    reached: tuple[int, int] | None = Field(None, description="first and last slice that neighbours were carried to")


class MeasurementView(BaseModel):
    """Size of an object, and the values of the scan inside it; what the scan does not tell is null."""

    label: int
    name: str | None
    component: int
    voxels: int
    volume_ml: float | None
    long_axis_mm: float | None
    short_axis_mm: float | None
    long_axis_px: float | None = Field(None, description="where the spacing is unknown")
    short_axis_px: float | None = None
    slice: int
    long_axis_xy: tuple[Pair, Pair]
    short_axis_xy: tuple[Pair, Pair]
    mean: float | None = Field(None, description="of the stored values; null for colour pictures and for components")
    spread: float | None = Field(None, description="their standard deviation")
    unit: Literal["HU"] | None = Field(None, description="of mean and spread; null where the scan is no CT")


class ReshapeStep(_Strict):
    """Fill holes of an object, keep its largest part, smooth, grow or shrink it; on one slice, or whole."""

    step: Literal["reshape"]
    label: Label
    how: Literal["fill", "largest", "smooth", "grow", "shrink"]
    by: Annotated[float, Field(ge=0, le=200, description="mm; pixels where the spacing is unknown")] = 0.0
    plane: PlaneName = "stored"
    slice: Index | None = Field(None, description="the whole object without it")


class InterpolateStep(_Strict):
    """Fill the slices between two from the masks there; those drawn by hand stay."""

    step: Literal["interpolate"]
    label: Label
    plane: PlaneName = "stored"
    first: Index
    last: Index


class MergeStep(_Strict):
    """Make two objects one; the first of them goes."""

    step: Literal["merge"]
    label: Label
    into: Label


class DeleteStep(_Strict):
    """Take an object away, its mask and its name."""

    step: Literal["delete"]
    label: Label


class DescribeStep(_Strict):
    """Give an object another name, colour or code."""

    step: Literal["describe"]
    object: ObjectView


class ReleaseStep(_Strict):
    """Let the model change a slice that was drawn by hand."""

    step: Literal["release"]
    label: Label
    plane: PlaneName = "stored"
    slice: Index


class TakeStep(_Strict):
    """Take over a version: another annotator's, or an earlier one; one's own before stays in the history."""

    step: Literal["take"]
    revision: RevisionId
    label: Label | None = Field(None, description="this object alone; all without it")


Step = ReshapeStep | InterpolateStep | MergeStep | DeleteStep | DescribeStep | ReleaseStep | TakeStep


class StepIn(_Strict):
    """One change of the mask or its objects; each is one step of undo."""

    do: Annotated[Step, Field(discriminator="step")]
    kept: list[Label] = Field(default_factory=list, max_length=1000, description="objects that are locked")


class StepOut(BaseModel):
    """What came of a step."""

    head: HeadView
    changed: int = Field(description="voxels that are another object's now; a step that changes nothing is not saved")


class ComparisonView(BaseModel):
    """How well two versions of an object agree."""

    label: int
    dice: float
    nsd: float
    tolerance: float
    unit: Literal["mm", "px"] = Field(description="of the tolerance")
    voxels: tuple[int, int] = Field(description="of the first and of the second version")
    both: int
