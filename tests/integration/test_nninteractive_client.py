"""The unmodified nnInteractive client annotates a real scan with the real default model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from listening import listening
from nnInteractive.inference.remote import SessionExpiredError, nnInteractiveRemoteInferenceSession
from nnInteractive.inference.remote.remote_session import ServerAtCapacityError
from serving import TOKEN, serve
from viewed_scans import default_predictor, viewed_scan

import medsam
from medsam.imaging.image import Grid, Image, Mask
from medsam.imaging.prompts import Prompt
from medsam.inference.volume.spread import spread

pytestmark = pytest.mark.integration


def test_a_scan_is_sent_drawn_on_corrected_taken_back_and_saved(tmp_path: Path) -> None:
    scan = viewed_scan(tmp_path)
    predictor, spacing = default_predictor(), list(scan.image.grid.spacing_mm or ())
    k, (x0, y0, x1, y1) = scan.slice, scan.box
    with serve(tmp_path, predictor, max_sessions=1) as served, listening(served.app) as port:
        address = f"http://127.0.0.1:{port}/nninteractive"
        session = nnInteractiveRemoteInferenceSession(address, api_key=TOKEN, read_timeout=3600)
        with pytest.raises(ServerAtCapacityError):
            nnInteractiveRemoteInferenceSession(address, api_key=TOKEN, read_timeout=3600)
        assert session.ping() and session.supports_undo and not session.supported_interactions["points"]
        session.set_image(scan.image.values[None], {"spacing": np.array(spacing)})
        target = np.zeros(scan.image.grid.shape, np.uint8)
        session.set_target_buffer(target)
        drawn = [[k, k + 1], [y0, y1 + 1], [x0, x1 + 1]]
        session.add_bbox_interaction(drawn, include_interaction=True)
        first = target.copy()
        assert medsam.dice(first[k] > 0, scan.expert[k]) > 0.7 and first.any(axis=(1, 2)).sum() > 5

        other = (
            scan.beside
        )  # a slice where the expert has the object too: correct it by a lasso around the expert's mask
        session.add_lasso_interaction(
            scan.expert[other : other + 1].astype(np.uint8), include_interaction=True,
            interaction_bbox=[[other, other + 1], [0, target.shape[1]], [0, target.shape[2]]],
        )  # fmt: skip
        own = _own(predictor, scan, spacing, served.app.state.server.cache)
        assert np.array_equal(target, own)
        assert session.undo() and np.array_equal(target, first)
        session.add_bbox_interaction([[k, k + 1], [y0, y0 + 5], [x0, x1 + 1]], include_interaction=False)
        assert not target[k, y0 : y0 + 5, x0 : x1 + 1].any()

        medsam.write_mask(Mask(target, scan.image.grid), tmp_path / "mask.nii.gz")
        assert np.array_equal(medsam.read_mask(tmp_path / "mask.nii.gz").labels, target)
        session.reset_interactions()
        assert not target.any() and session.undo() is False
        served.app.state.leases.release(session._http.headers["X-Lease-Token"], "ana")
        with pytest.raises(SessionExpiredError):
            session.heartbeat()
        session.close()


def _own(predictor, scan, spacing, cache) -> np.ndarray:
    """The same drawings by the library alone."""
    image = medsam.normalize(Image(scan.image.values, Grid(scan.image.grid.shape, tuple(spacing)), modality="MR"))
    first = spread(predictor, image, [Prompt(1, slice=scan.slice, box=scan.box)], cache=cache).mask
    ys, xs = np.nonzero(scan.expert[scan.beside])
    around = Prompt(1, slice=scan.beside, box=(xs.min(), ys.min(), xs.max(), ys.max()))
    return spread(predictor, image, [around], previous=Mask(first.labels, image.grid), cache=cache).mask.labels
