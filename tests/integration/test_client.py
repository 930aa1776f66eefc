"""medsam.Client and a real server in a process of its own: the voxels of the local API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from serving import scan_file

import medsam
from medsam.annotation.markers import Marker

pytestmark = pytest.mark.integration
BOXES = {1: [(10, 8, 32, 22)], 3: [(11, 9, 31, 21)]}


def test_a_real_server_gives_the_local_voxels(tmp_path: Path) -> None:
    scan = scan_file(tmp_path / "a.nii.gz")
    words = ["serve", str(tmp_path), "--port", "0", "--modality", "MR", "--model", "openmedsam-lite", "--device", "cpu"]
    code = "import sys; from medsam.cli.app import main; main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    try:
        assert process.stdout is not None
        with medsam.Client(process.stdout.readline().strip()) as client:
            [case] = client.cases()
            image = medsam.normalize(medsam.read_image(scan, modality="MR"))
            predictor = medsam.load_predictor("openmedsam-lite", device="cpu")
            masks, _ = client.decode(client.embed(case, 2), boxes=[(10, 8, 32, 22)])
            own, _ = predictor.decode(predictor.embed(image.slice_rgb(2)), boxes=[(10, 8, 32, 22)])
            assert np.array_equal(masks, own)
            told: list[int] = []
            mask = client.segment_volume(case, boxes=BOXES, progress=lambda done, _: told.append(done))
            assert np.array_equal(mask.labels, medsam.segment_volume(predictor, image, boxes=BOXES).labels)
            assert told[-1] == 2 and mask.labels.any()
            markers = [Marker(1, k, ((12.0, 15.0), (29.0, 15.0), (20.0, 10.0), (20.0, 19.0))) for k in (1, 4)]
            made = client.annotate(case, markers)
            assert sorted(made.scores[1]) == [1, 2, 3, 4] and (made.mask.labels[1:5] > 0).any(axis=(1, 2)).all()
            client.write_mask(case, tmp_path / "m.nrrd")
            assert np.array_equal(medsam.read_mask(tmp_path / "m.nrrd").labels, made.mask.labels)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
