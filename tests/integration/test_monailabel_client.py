"""The unmodified MONAILabelClient annotates a real scan with the real default model."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from listening import listening
from monailabel_wheel import client_class
from serving import TOKEN, serve
from viewed_scans import default_predictor, viewed_scan

import medsam
from medsam.imaging.image import Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.spread import spread
from medsam.server.strokes import settle, stroke_prompts

pytestmark = pytest.mark.integration


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the client imports cgi")
def test_a_scan_is_sent_prompted_corrected_by_scribbles_saved_and_read_back(tmp_path: Path) -> None:
    kind, scan, predictor = client_class(tmp_path), viewed_scan(tmp_path), default_predictor()
    k, (x0, y0, x1, y1) = scan.slice, scan.box
    (tmp_path / "tmp").mkdir()
    with serve(tmp_path, predictor, modality="MR") as served, listening(served.app) as port:
        client = kind(f"http://127.0.0.1:{port}/monailabel", str(tmp_path / "tmp"), "slicer")
        client.update_auth(client.auth_token("ana", TOKEN))
        image = client.upload_image(str(scan.path), "patient-7")["image"]
        cache = served.app.state.server.cache
        ready = medsam.normalize(scan.image)

        roi = {
            "roi": [x1, x0, y1, y0, k + 1, k - 1],
            "label": "left atrium",
            "result_extension": ".nrrd",
        }  # as Slicer: reversed
        file, told = client.infer("medsam_3d", image, roi)
        first = medsam.read_mask(file, reference=scan.path).labels
        own = medsam.segment_volume(predictor, ready, box3d=[(x0, y0, k - 1, x1, y1, k + 1)], cache=cache)
        assert np.array_equal(first, own.labels) and told["label_names"] == {"left atrium": 1}
        assert medsam.dice(first[k] > 0, scan.expert[k]) > 0.7

        stroke = np.zeros(first.shape, bool)  # across the object, on a slice where it is missing yet
        rows, columns = np.nonzero(scan.expert[scan.beside])
        stroke[scan.beside, int(np.median(rows)), columns.min() : columns.max() + 1] = True
        stroke[scan.beside, rows.min() : rows.max() + 1, int(np.median(columns))] = True
        medsam.write_mask(
            Mask(np.where(stroke, 3, first).astype(np.uint8), scan.image.grid), drawn := tmp_path / "drawn.nrrd"
        )
        file, _ = client.infer("medsam_scribbles", image, {"result_extension": ".nrrd"}, label_in=str(drawn))
        after = medsam.read_mask(file, reference=scan.path).labels
        before = Mask(np.where(stroke, 0, first).astype(np.uint8), scan.image.grid)
        points = settle(stroke_prompts(stroke, (0, 0, 0), 0, inside=True), before.labels, clicks=False)
        assert points == [Prompt(1, slice=scan.beside, box=points[0].box)]
        again = spread(predictor, ready, points, previous=before, cache=cache).mask.labels
        assert np.array_equal(after, again) and after[scan.beside].any() and np.array_equal(after[k], first[k])

        client.save_label("patient-7", file, "final", {"label_info": [{"name": "left atrium", "idx": 1}]})
        saved = client.download_label(image, "ana")
        assert np.array_equal(medsam.read_mask(saved, reference=scan.path).labels, after)
        case = served.project.case(image)
        assert served.project.objects(image)[0].name == "left atrium" and case.status == "in work"
        assert "patient-7" not in str(case)
