"""medsam.Client: cases of a server as images, prompts in, masks out; the calls are those of the local API.

Shape legend: D slices, H rows, W columns, N prompts.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medsam.annotation.markers import Marker, collect_markers
from medsam.annotation.study.label_runs import decode_runs
from medsam.client.connection import Connection, read_row, read_rows
from medsam.client.values import (
    RemoteAnnotation,
    RemoteCase,
    RemoteEmbedding,
    RemoteGeometry,
    RemoteMeasurement,
    make_case,
    make_geometry,
    make_measurement,
    nest_points,
    unpack_runs,
)
from medsam.errors import InputFileError, OutputError, PromptError
from medsam.files.atomic import replacing
from medsam.imaging.box_options import BetweenSlices, BoxOptions
from medsam.imaging.boxes import Box, to_numpy
from medsam.imaging.drawn_objects import make_object_prompts
from medsam.imaging.image import Image, Mask, move_axis
from medsam.io.suffixes import find_format
from medsam.progress import Progress, show_lines

if TYPE_CHECKING:
    import httpx


class Client:
    """A server of `medsam serve`; close it, or use it in a with statement.

    Args:
        address: As the server prints it, http://127.0.0.1:8000/?token=...
        token: Where the address has none.
        http: An httpx.Client of one's own, as for a proxy or certificates.

    Raises:
        MissingDependencyError: httpx is not installed. InputFileError: no http address.
    """

    def __init__(self, address: str, token: str | None = None, *, http: httpx.Client | None = None) -> None:
        self._connection = Connection(address, token, http)
        self._geometries: dict[str, RemoteGeometry] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the server."""
        self._connection.close()

    def cases(self) -> list[RemoteCase]:
        """The scans of the server's project."""
        return [make_case(row) for row in read_rows(self._connection.ask("GET", "/cases"))]

    def upload(self, path: str | Path, *, modality: str | None = None, window: str | None = None) -> RemoteCase:
        """Add a scan: an image file, or a folder that is a DICOM series.

        Raises:
            InputFileError: it is not there. MedsamError: the server cannot read or normalize it, or has it already.
        """
        source = Path(path)
        if not source.exists():
            raise InputFileError(f"{source} does not exist", expected="a scan", fix="check the path")
        query = {"name": source.name, "modality": modality, "window": window}
        with tempfile.TemporaryFile() as packed:
            if source.is_dir():
                with zipfile.ZipFile(packed, "w") as archive:
                    for number, file in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
                        archive.write(file, f"{number:06d}.dcm")
                packed.seek(0)
                sent = read_row(
                    self._connection.ask("POST", "/cases", query=query | {"name": "series.zip"}, content=packed)
                )
                return make_case(sent)
        with source.open("rb") as opened:
            return make_case(read_row(self._connection.ask("POST", "/cases", query=query, content=opened)))

    def add_from_pacs(
        self, study: str, series: str, *, modality: str | None = None, window: str | None = None
    ) -> RemoteCase:
        """Add a series of the server's PACS by its UIDs."""
        body = {"study": study, "series": series, "modality": modality, "window": window}
        return make_case(read_row(self._connection.ask("POST", "/pacs/cases", body=body)))

    def geometry(self, case: RemoteCase) -> RemoteGeometry:
        """The grid of a case, its modality and its window; asked for once."""
        if case.id not in self._geometries:
            self._geometries[case.id] = make_geometry(read_row(self._connection.ask("GET", f"/cases/{case.id}")))
        return self._geometries[case.id]

    def read_slice(self, case: RemoteCase, k: int, *, plane: str | int = 0) -> NDArray[Any]:
        """Stored values (H, W), or (H, W, 3), of one slice."""
        name = self.geometry(case).plane_name(plane)
        answer = self._connection.ask("GET", f"/cases/{case.id}/slices/{name}/{k}")
        shape = tuple(int(n) for n in answer.headers["X-Shape"].split(","))
        return np.frombuffer(answer.content, answer.headers["X-Dtype"]).reshape(shape)  # (H, W[, 3])

    def read_image(self, case: RemoteCase) -> Image:
        """The whole scan as stored, as medsam.read_image gives it."""
        geometry = self.geometry(case)
        values = np.stack([self.read_slice(case, k) for k in range(case.shape[0])])
        return Image(values, geometry.grid, geometry.modality, geometry.window)

    def embed(self, case: RemoteCase, k: int, *, plane: str | int = 0) -> RemoteEmbedding:
        """Have a slice embedded, so that prompts on it answer at once; does not wait for it."""
        name = self.geometry(case).plane_name(plane)
        self._connection.ask("POST", f"/cases/{case.id}/embeddings", body={"plane": name, "slice": k})
        return RemoteEmbedding(case, name, k)

    def decode(
        self, embedding: RemoteEmbedding, *, boxes: ArrayLike | None = None, points: Sequence[Any] | None = None,
        point_labels: Sequence[Any] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:  # fmt: skip
        """Segment N prompts of one slice; nothing is saved.

        Args:
            embedding: From embed.
            boxes: As Predictor.decode.
            points: As Predictor.decode.
            point_labels: As Predictor.decode.

        Returns:
            Masks (N, H, W) bool in slice pixels, and scores (N,) float32.

        Raises:
            PromptError: no prompts, or prompts that do not fit the slice, each other or the model.
        """
        rows = [] if boxes is None else np.atleast_2d(np.asarray(to_numpy(boxes), np.float64)).tolist()
        spots, signs = nest_points(points, point_labels)
        counts = {len(one) for one in (rows, spots) if one}
        if len(counts) != 1:
            raise PromptError("no prompts, or not as many lists of points as boxes", expected="one for each object",
                              fix="pass boxes=[(x0, y0, x1, y1)]")  # fmt: skip
        masks, scores = [], []
        for n in range(counts.pop()):
            body = {
                "plane": embedding.plane, "slice": embedding.slice, "label": n + 1, "box": rows[n] if rows else None,
                "points": spots[n] if spots else [], "point_labels": signs[n] if signs else [],
            }  # fmt: skip
            answer = read_row(self._connection.ask("POST", f"/cases/{embedding.case.id}/prompts", body=body))
            masks.append(unpack_runs(answer["mask"]))
            scores.append(answer["score"])
        return np.stack(masks), np.array(scores, np.float32)

    def segment_volume(
        self, case: RemoteCase, *, boxes: Mapping[int, Sequence[Box | None]] | None = None,
        box3d: Sequence[Sequence[float]] | None = None, points: Mapping[int, Sequence[object]] | None = None,
        labels: Sequence[int] | None = None, interpolate: bool = False, plane: str | int = 0,
        progress: bool | Progress = False,
    ) -> Mask:  # fmt: skip
        """Segment a case as medsam.segment_volume does, and save it as one's own state.

        Returns:
            The whole mask of that state: objects of before that no prompt names stay.

        Raises:
            MedsamError: as segment_volume. ConflictError: somebody saved as the same annotator meanwhile.
        """
        geometry = self.geometry(case)
        name = geometry.plane_name(plane)
        shape = move_axis(geometry.grid, geometry.axes[name]).shape
        objects = make_object_prompts(shape, boxes=boxes, box3d=box3d, points=points, labels=labels)
        prompts = [
            {"label": p.label, "slice": p.slice, "box": p.box, "points": p.points, "point_labels": p.point_labels,
             "box_3d": p.box_3d} for own in objects for p in own
        ]  # fmt: skip
        self._run(case, {"plane": name, "prompts": prompts, "interpolate": interpolate}, progress)
        return self.read_mask(case)

    def annotate(
        self, case: RemoteCase, markers: Mask | NDArray[Any] | Sequence[Marker], *,
        interpolation: BetweenSlices = BoxOptions.interpolation, margin_px: float | None = BoxOptions.margin_px,
        max_gap: int | None = None, plane: str | int = 0, progress: bool | Progress = False,
) -> RemoteAnnotation:  # fmt: skip
        """Turn axis lines drawn on some slices into a mask, as medsam.annotate does, and save it as one's own state."""
        geometry = self.geometry(case)
        name = geometry.plane_name(plane)
        drawn = collect_markers(markers, geometry.grid, geometry.axes[name])
        sent = [{"label": one.label, "slice": one.slice, "points": one.points_xy} for one in drawn]
        how = {"interpolation": interpolation, "margin_px": margin_px, "max_gap": max_gap}
        self._run(case, {"plane": name, "markers": sent, **how}, progress)
        scores: dict[int, dict[int, float]] = {}
        for row in read_rows(self._connection.ask("GET", f"/cases/{case.id}/scores")):
            if row["axis"] == geometry.axes[name]:
                scores.setdefault(row["label"], {})[row["slice"]] = row["score"]
        return RemoteAnnotation(self.read_mask(case), scores)

    def _run(self, case: RemoteCase, body: Mapping[str, object], progress: bool | Progress) -> None:
        report = (show_lines("slices") if progress else None) if isinstance(progress, bool) else progress
        job = read_row(self._connection.ask("POST", f"/cases/{case.id}/jobs", body=body, seen=self._version(case)))
        self._connection.follow(f"/cases/{case.id}/jobs/{job['id']}", report)

    def _version(self, case: RemoteCase) -> int:
        return int(read_row(self._connection.ask("GET", f"/cases/{case.id}/head"))["version"])

    def read_mask(self, case: RemoteCase, *, annotator: str | None = None, revision: int | None = None) -> Mask:
        """The mask that one stands at, or another annotator, or an earlier one; with the names of its objects."""
        query = {"annotator": annotator, "revision": revision}
        labels = decode_runs(self._connection.ask("GET", f"/cases/{case.id}/mask", query=query).content).unfold()
        named = read_rows(self._connection.ask("GET", f"/cases/{case.id}/objects"))
        return Mask(
            labels, self.geometry(case).grid, {one["label"]: one["name"] for one in named if one["name"]},
            {one["label"]: tuple(one["color"]) for one in named if one["color"]},
            {one["label"]: tuple(one["code"]) for one in named if one["code"]},
        )  # fmt: skip

    def save_slice(self, case: RemoteCase, k: int, labels_HW: NDArray[np.integer], *, plane: str | int = 0) -> None:
        """Save a slice of the mask as drawn by hand; the model leaves it alone from then on."""
        name, data = self.geometry(case).plane_name(plane), np.ascontiguousarray(labels_HW, "<u2").tobytes()
        query = {"dtype": "<u2"}
        self._connection.ask(
            "PUT", f"/cases/{case.id}/mask/{name}/{k}", content=data, query=query, seen=self._version(case)
        )

    def undo(self, case: RemoteCase) -> None:
        """Go back to the state before."""
        self._connection.ask("POST", f"/cases/{case.id}/undo", seen=self._version(case))

    def redo(self, case: RemoteCase) -> None:
        """Take back the last undo."""
        self._connection.ask("POST", f"/cases/{case.id}/redo", seen=self._version(case))

    def name_object(
        self, case: RemoteCase, label: int, name: str, *, color: tuple[int, int, int] | None = None,
        code: tuple[str, str, str] | None = None,
    ) -> None:  # fmt: skip
        """Name an object of a case, or name it anew."""
        body = {"label": label, "name": name, "color": color, "code": code}
        self._connection.ask("PUT", f"/cases/{case.id}/objects/{label}", body=body)

    def set_status(self, case: RemoteCase, status: Literal["new", "in work", "done", "reviewed"]) -> RemoteCase:
        """Say how far a case is."""
        return make_case(read_row(self._connection.ask("PUT", f"/cases/{case.id}/status", body={"status": status})))

    def measure(self, case: RemoteCase, *, components: bool = False) -> list[RemoteMeasurement]:
        """Volume, diameters and values of each object of one's own mask, or of each of its parts."""
        query = {"components": str(components).lower()}
        rows = read_rows(self._connection.ask("GET", f"/cases/{case.id}/measurements", query=query))
        return [make_measurement(row) for row in rows]

    def write_mask(
        self, case: RemoteCase, path: str | Path, *, format: str | None = None, annotator: str | None = None
    ) -> None:  # fmt: skip
        """Write the mask into a file here, by suffix or format, as medsam.write_mask does; whole or not at all.

        Args:
            path: By its suffix as write_mask; where the format makes several files, a name that ends in .zip.
            format: "dicom-seg" or "rtstruct" for .dcm; and where the path ends in .zip.
            annotator: Whose mask; one's own without it.

        Raises:
            OutputError: an unknown suffix, or a mask that the format cannot hold.
        """
        target = Path(path)
        row = find_format(target, "write_mask")
        if format is None and row is None:
            raise OutputError(f"{target} has no suffix of a mask", expected=".nii.gz, .nrrd, ...", fix="pass format=")
        query = {"format": format or (row.name if row else None), "annotator": annotator}
        answer = self._connection.ask("GET", f"/cases/{case.id}/export", query=query)
        several = answer.headers.get("Content-Disposition", "").rstrip('"').endswith(".zip")
        if several != (target.suffix.lower() == ".zip"):
            raise OutputError(
                f"{'several files' if several else 'one file'} for {target}",
                expected="a name that ends in .zip for several files alone", fix="rename it",
            )  # fmt: skip
        with replacing(target) as temporary:
            temporary.write_bytes(answer.content)

    def store(self, case: RemoteCase, *, format: Literal["dicom-seg", "rtstruct"] = "dicom-seg") -> list[str]:
        """Store one's own mask in the PACS of the server; gives the SOPInstanceUIDs of the new objects."""
        return list(
            read_row(self._connection.ask("POST", f"/cases/{case.id}/store", query={"format": format}))["instances"]
        )
