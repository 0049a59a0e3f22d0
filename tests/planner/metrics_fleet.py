"""One simulated fleet as every stack shows it, scraped for ten minutes."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np

from planner.metrics.exposition import FleetCollector, FleetGauges, pod_pages
from policies.types import PerRole
from replay.requests import Requests
from replay.tally import Tally

NOW = 1_700_000_000.0
MODEL = "Org/Tiny-8B"
GAUGES = FleetGauges(
    waiting_requests=PerRole(6.0, 2.0),
    running_requests=PerRole(3.0, 96.0),
    ready_replicas=PerRole(3, 4),
    kv_usage_fraction=0.625,
    kv_transfer_backlog_requests=5.0,
)

Past = list[tuple[float, dict[str, str]]]  # (time, page by pod)


def serve(tally: Tally, requests: int) -> None:
    """Requests of 1,000 prompt tokens (250 cached) and 101 tokens of output at 20 ms."""
    columns = (np.full(requests, value) for value in (0.0, 1000.0, 101.0, 250.0))
    tally.arrive(Requests(*columns))
    tally.first_tokens(np.full(requests, 0.5))
    tally.transfer(np.full(requests, 0.04), np.full(requests, 2.0**27))
    tally.finish(np.full(requests, 0.02), np.full(requests, 101.0))


@functools.cache
def record(stack: str, *, restarts_at: int | None = None) -> Past:
    """Ten minutes at two requests a second, scraped every 15 s; the last eleven scrapes."""
    tally, past = Tally(), []
    collector = FleetCollector(lambda: (tally, GAUGES), MODEL, stack)
    for scrape in range(41):
        if scrape == restarts_at:
            tally = Tally()
        if scrape >= 30:
            pages = {pod: text.decode() for pod, text in pod_pages(collector).items()}
            past.append((NOW - 600 + 15 * scrape, pages))
        serve(tally, 30)
    return past


def with_labels(pages: Mapping[str, str]) -> str:
    """What Prometheus stores of the pages: one more series `up` for each target."""
    up = "\n".join(f'up{{pod="{pod}"}} 1' for pod in pages)
    return "\n".join([*pages.values(), "# TYPE up gauge", up, ""])
