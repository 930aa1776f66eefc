"""The comparators as a job: which there are, and what is refused."""

from __future__ import annotations

from medsam.jobs.baseline import list_baselines


def test_the_papers_comparators_with_the_papers_epochs() -> None:
    epochs = {one.name: one.paper_epochs for one in list_baselines()}
    assert epochs == {"sam-vit-b": None, "unet": 1000, "nnunet": 1000, "deeplabv3plus": 500}
