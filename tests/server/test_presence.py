"""Who works in a case: seen while there, gone when the client is gone or its user idle."""

from __future__ import annotations

from serving import OTHER, Served, bearer, prompt

from medsam.server.presence import Presence


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_says_nothing_is_gone_and_who_only_looks_does_not_stay_for_ever() -> None:
    clock = Clock()
    presence = Presence(600, 60, clock)
    presence.note("a", "ana", acts=True)
    presence.note("a", "bob", acts=False)
    clock.now = 50
    presence.note("a", "ana", acts=False)
    assert presence.working() == {"a": [("ana", 50), ("bob", 50)]}
    clock.now = 100
    assert presence.working() == {"a": [("ana", 100)]}
    for clock.now in range(100, 601, 50):
        presence.note("a", "ana", acts=False)
    assert presence.working() == {"a": [("ana", 600)]}
    clock.now = 601
    assert presence.working() == {}


def test_two_annotators_see_each_other_in_the_list_and_in_the_case(served: Served) -> None:
    def working(token: str = OTHER) -> list[str]:
        [row] = served.client.get("/api/v1/cases", headers=bearer(token)).json()
        return [one["annotator"] for one in row["working"]]

    path = f"/api/v1/cases/{served.case}"
    for looked in ("", "/thumbnail", "/slices/stored/0", "/head"):
        assert served.client.get(f"{path}{looked}").is_success
    assert working() == []  # to look, as the list of cases does, is no work in the case
    assert prompt(served, 0).status_code == 200
    assert working() == ["ana"]
    told = served.client.put(f"{path}/presence", headers=bearer(OTHER)).json()
    assert [one["annotator"] for one in told] == ["ana", "bob"] and told[0]["idle_seconds"] >= 0
    assert [one["annotator"] for one in served.client.get(path).json()["working"]] == ["ana", "bob"]
    assert served.client.delete(f"{path}/presence", headers=bearer(OTHER)).status_code == 204
    assert working() == ["ana"]
