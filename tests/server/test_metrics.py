"""Numbers for Prometheus."""

from __future__ import annotations

from medsam.server.metrics import Metrics


def test_requests_are_counted_by_route_and_the_queue_is_asked_when_fetched() -> None:
    metrics, queue = Metrics(), [1, 2, 3]
    metrics.watch(lambda: len(queue))
    metrics.count("GET", "/api/v1/cases", 200, 0.5)
    metrics.count("GET", "/api/v1/cases", 200, 1.5)
    text = metrics.text().decode()
    assert 'medsam_requests_total{method="GET",route="/api/v1/cases",status="200"} 2.0' in text
    assert 'medsam_request_seconds_sum{route="/api/v1/cases"} 2.0' in text
    assert "medsam_waiting 3.0" in text
