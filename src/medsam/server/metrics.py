"""Numbers of a running server for Prometheus; none of them names a case, a scan or a person."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("medsam_requests", "Requests answered", labels, registry=self._registry)
        self._seconds = Histogram("medsam_request_seconds", "Time to answer", ("route",), registry=self._registry)
        self._waiting = Gauge("medsam_waiting", "Prompts and jobs that wait for the model", registry=self._registry)

    def watch(self, waiting: Callable[[], float]) -> None:
        """Ask for the length of the queue whenever the numbers are fetched."""
        self._waiting.set_function(waiting)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All numbers in the form that Prometheus reads."""
        return generate_latest(self._registry)
