"""`GET /metrics`, which Prometheus asks every few seconds: requests that came, and the service's figures of the moment.

Each figure is either counted where it happens or read when somebody asks; no model and no category's bank is asked.
Labels have few values: routes are those of the application, and whatever else a stranger asks for is "other".
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.serving.figures import Figures
from backend.serving.service import Service

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 100.0)
"""From a look-up to the 100 s after which Label Studio gives up."""
METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
OTHER = "other"


def add_metrics(app: Flask, service: Service) -> None:
    """Count the requests of an application, and add the route that shows the counts. Call it before authentication."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second sample of each: when it was first seen
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_OfService(service))
    requests = Counter("ovdiff_requests", "Requests.", ["route", "method", "status"], registry=registry)
    seconds = Histogram(
        "ovdiff_request_seconds",
        "From the request's body to its answer.",
        ["route"],
        buckets=BUCKETS_S,
        registry=registry,
    )
    received = Counter("ovdiff_received_bytes", "Bytes of the bodies of requests, as declared.", registry=registry)
    sent = Counter("ovdiff_sent_bytes", "Bytes of the bodies of answers.", registry=registry)

    @app.before_request
    def begin() -> None:
        g.ovdiff_begun_s = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        route = OTHER if request.url_rule is None else request.url_rule.rule
        method = request.method if request.method in METHODS else OTHER
        requests.labels(route, method, str(response.status_code)).inc()
        seconds.labels(route).observe(time.perf_counter() - g.ovdiff_begun_s)
        received.inc(request.content_length or 0)
        sent.inc(response.content_length or 0)
        return response

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _OfService(Collector):
    """Reads the service's figures whenever they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand, so that registering asks for no figures."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the service's figures as metrics."""
        figures = self._service.figures()
        yield from _counters(figures)
        yield from _gauges(figures)


def _counters(figures: Figures) -> Iterator[Metric]:
    tasks = CounterMetricFamily("ovdiff_tasks", "Tasks by what became of them.", labels=["asked", "outcome"])
    errors = CounterMetricFamily("ovdiff_task_errors", "Tasks that failed, by the kind of error.", labels=["error"])
    for (what, kind), count in figures.answers.items():
        if what == "error":
            errors.add_metric([kind], count)
        else:
            tasks.add_metric(["prediction" if what == "task" else what, kind], count)
    yield tasks
    yield errors
    found = CounterMetricFamily("ovdiff_segmentations", "Segmentations by where they came from.", labels=["origin"])
    for (origin,), count in figures.segmentations.items():
        found.add_metric([origin], count)
    yield found
    builds = CounterMetricFamily("ovdiff_builds", "Builds of a category's prototypes.", labels=["result"])
    builds.add_metric(["built"], figures.builds.built)
    builds.add_metric(["failed"], figures.builds.failed)
    yield builds
    yield CounterMetricFamily("ovdiff_build_seconds", "Seconds of all builds that ended.", figures.builds.seconds)


def _gauges(figures: Figures) -> Iterator[Metric]:
    running = GaugeMetricFamily("ovdiff_requests_running", "Requests in work or waiting for it.", labels=["asked"])
    for what, count in figures.requests.items():
        running.add_metric([what], count)
    yield running
    sizes = GaugeMetricFamily("ovdiff_store_bytes", "Bytes of a store on the disk.", labels=["store"])
    for size in figures.stores:
        sizes.add_metric([size.name], size.bytes)
    yield sizes
    yield GaugeMetricFamily("ovdiff_remembered_bytes", "Bytes of remembered segmentations.", figures.remembered_bytes)
    yield GaugeMetricFamily("ovdiff_queue_categories", "Categories whose build is still to come.", figures.queue)
    yield GaugeMetricFamily("ovdiff_failed_tasks", "Tasks whose last try failed.", figures.failed_tasks)
    yield GaugeMetricFamily("ovdiff_projects", "Projects that are known.", figures.projects)
    yield GaugeMetricFamily("ovdiff_ready", "1 if models and disk are ready, else 0.", int(figures.is_ready))
