"""The command `medsam pacs`: answers of an archive, good and hostile."""

from __future__ import annotations

from pathlib import Path

from hostile_pacs import GOOD, SERIES, STUDY, HostilePacs, send_parts, serve

from command import medsam


def test_series_are_listed_and_fetched(tmp_path: Path) -> None:
    with serve(HostilePacs(GOOD)) as pacs:
        listed = medsam("pacs query --json", pacs.archive)
        [row] = listed.json  # type: ignore[misc]
        assert (row["study"], row["series"], row["modality"], row["instances"]) == (STUDY, SERIES, "CT", 3)
        assert f"studies/{STUDY}/series/{SERIES}  abdomen" in medsam("pacs query", pacs.archive).out
        fetched = medsam("pacs get -o", tmp_path / "ct", pacs.address)
    assert fetched.out == f"{tmp_path / 'ct'}: 3 instances\n"
    assert len(list((tmp_path / "ct").iterdir())) == 3


def test_hostile_answer_is_one_line(tmp_path: Path) -> None:
    pacs = HostilePacs(GOOD)
    pacs.fetch = lambda handler: send_parts(handler, [*GOOD[:2], GOOD[2][:-100]])  # cut in its pixels
    with serve(pacs):
        ended = medsam("pacs get -o", tmp_path / "ct", pacs.address)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "is truncated" in ended.err
    assert "hunter2" not in ended.err
