"""The scrape source with queries of the user's own, on a page over HTTP."""

from __future__ import annotations

from itertools import count

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from planner.metrics.config import MetricsConfig, make_source

PAGE = """# TYPE asked_total counter
asked_total {asked}
# TYPE queue gauge
queue 7
# TYPE held gauge
held 3
"""


def served() -> web.Application:
    """A page whose counter grows by 600 with every look, so by 10 a second."""
    looks = count(1)

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE.format(asked=600 * next(looks)))

    app = web.Application()
    app.router.add_get("/metrics", page)
    return app


@pytest.mark.parametrize(
    "rate",
    [
        pytest.param("sum(rate(asked_total[2m]))", id="without-labels"),
        pytest.param("sum(rate(asked_total{$where}[2m]))", id="with-labels"),
    ],
)
async def test_a_query_reads_every_metric_that_it_names(rate):
    async with TestServer(served()) as server:
        config = MetricsConfig(
            source="scrape",
            model="m",
            preset="custom",
            queries={"requests_per_second": rate, "prefill_waiting_requests": "queue - (held + 1)"},
            scrape={"pages": [{"url": str(server.make_url("/metrics"))}]},
        )
        source = make_source(config)
        await source.observe(1000.0)
        seen = await source.observe(1060.0)
        await source.close()
    assert seen.requests_per_second == pytest.approx(10.0)
    assert seen.waiting_requests.prefill == 3.0
