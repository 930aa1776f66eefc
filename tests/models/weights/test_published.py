"""The models others published."""

from __future__ import annotations

from medsam.models.weights.published import PUBLISHED, find_published_by_hash


def test_a_published_file_is_known_by_its_hash_under_any_name() -> None:
    known = [entry for entry in PUBLISHED if entry.manifest.sha256]
    assert len(known) > 5
    assert all(find_published_by_hash(str(entry.manifest.sha256)) == entry for entry in known)
    assert find_published_by_hash("0" * 64) is None
