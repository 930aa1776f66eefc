"""Seats at the server: taken, kept while someone is there, and given back."""

from __future__ import annotations

import pytest

from medsam.server.leases import Leases
from medsam.server.nninteractive_scan import InteractiveScan
from medsam.server.problems import AtCapacity, LeaseGone


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def seats(most: int = 2) -> tuple[Leases, Clock]:
    clock = Clock()
    return Leases(most, idle_seconds=600, live_seconds=60, clock=clock), clock


def test_a_lease_of_another_annotator_is_one_that_never_was() -> None:
    leases, _ = seats()
    scan = InteractiveScan()
    token = leases.claim("ana", scan)
    with leases.using(token, "ana") as held:
        assert held is scan
    for lease, who in ((token, "bob"), ("0" * 32, "ana"), (None, "ana"), ("", "ana")):
        with pytest.raises(LeaseGone), leases.using(lease, who):
            pass
    leases.release(token, "bob")
    assert len(leases) == 1
    leases.release(token, "ana")
    leases.release(token, "ana")
    assert len(leases) == 0


def test_seats_are_counted_and_come_back() -> None:
    leases, clock = seats()
    leases.claim("ana", InteractiveScan())
    leases.claim("ana", InteractiveScan())
    with pytest.raises(AtCapacity):
        leases.claim("bob", InteractiveScan())
    clock.now = 61  # both clients are gone
    leases.claim("bob", InteractiveScan())
    assert len(leases) == 1


def test_a_heartbeat_shows_that_the_client_lives_but_not_that_its_user_does() -> None:
    leases, clock = seats()
    token = leases.claim("ana", InteractiveScan())
    for clock.now in range(50, 601, 50):
        left = leases.remaining(token, "ana", alive=True)
    assert left == 0
    clock.now = 601
    with pytest.raises(LeaseGone):
        leases.remaining(token, "ana", alive=True)


def test_looking_does_not_keep_a_lease_and_acting_does() -> None:
    leases, clock = seats()
    token = leases.claim("ana", InteractiveScan())
    clock.now = 50
    assert leases.remaining(token, "ana") == 550
    with leases.using(token, "ana"):
        clock.now = 5000  # a long prediction: nobody is thrown out meanwhile
        leases.sweep()
    assert leases.remaining(token, "ana") == 600
    clock.now += 61
    assert len(leases) == 0
