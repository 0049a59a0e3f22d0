"""Real time, a real Prometheus, a real page: decisions follow the load."""

import asyncio

import pytest
from aiohttp import web

from planner.clock import WallClock
from planner.loop import Loop, LoopSettings
from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.exposition import FleetCollector, FleetGauges, page
from planner.service import listening
from planner.workloads.simulated import SimulatedWorkload
from policies.config import Guards, PolicySettings, RoleSettings
from policies.engine import Engine
from policies.profile import builtin
from policies.types import PerRole
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests

pytestmark = pytest.mark.slow

MODEL = "llama"
CALM_SECONDS, BUSY_SECONDS = 12.0, 9.0  # a new Prometheus scrapes first after some 5 s
PROFILE = builtin("llama-3-8b-h100-fp8-tp1")


def load_from(now_seconds: float) -> Requests:
    """Two requests a second, then forty."""
    calm = [now_seconds + i / 2 for i in range(1, int(CALM_SECONDS * 2))]
    busy = [now_seconds + CALM_SECONDS + i / 40 for i in range(int(BUSY_SECONDS * 40))]
    arrivals = calm + busy
    return Requests.of(arrivals, [4000.0] * len(arrivals), [50.0] * len(arrivals))


def fleet_page(fleet: Fleet, clock: WallClock) -> web.Application:
    """The fleet's own /metrics, brought up to now at every scrape."""

    def read() -> tuple[object, FleetGauges]:
        fleet.advance(clock.now_seconds())
        seen = fleet.snapshot()
        gauges = FleetGauges(
            waiting_requests=seen.waiting_requests.map(float),
            running_requests=seen.running_requests.map(float),
            ready_replicas=seen.replicas.map(lambda counts: counts.ready),
            kv_usage_fraction=seen.kv_usage_fraction,
            kv_transfer_backlog_requests=float(seen.transfers_waiting + seen.transfers_running),
        )
        return fleet.tally, gauges

    async def metrics(_: web.Request) -> web.Response:
        text = page(FleetCollector(read, MODEL))
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


@pytest.mark.program("prometheus")
@pytest.mark.timeout(90)
async def test_decisions_follow_the_load_through_a_real_prometheus(start_prometheus) -> None:
    clock = WallClock()
    now = clock.now_seconds()
    startup = PerRole(1.0, 1.0)
    plant = Plant(
        Physics.from_profile(PROFILE, startup_seconds=startup),
        PerRole(1, 1),
        start_seconds=now,
        compiled=False,
    )
    role = RoleSettings(startup_seconds=1.0)
    settings = PolicySettings(prefill=role, decode=role, guards=Guards(scale_in_window_seconds=3.0))
    fleet = Fleet(plant, iter([load_from(now)]), settings.slo)
    async with listening(fleet_page(fleet, clock), "127.0.0.1", 0) as address:
        target = {"targets": [address.removeprefix("http://")]}
        scrape = {"job_name": "fleet", "honor_labels": True, "static_configs": [target]}
        url = await asyncio.to_thread(start_prometheus, scrape_configs=[scrape])
        config = MetricsConfig(url=url, model=MODEL, window_seconds=4.0)
        loop = Loop(
            metrics=make_source(config),
            workload=SimulatedWorkload(fleet),
            clock=clock,
            engine=Engine(PROFILE, settings),
            settings=LoopSettings(tick_seconds=1.0, act=True),
        )
        ends = now + CALM_SECONDS + BUSY_SECONDS
        try:
            await loop.run(until=lambda: clock.now_seconds() > ends)
        finally:
            await loop.metrics.close()

    rates = [
        (r.decision.decided_at_seconds, r.observation.requests_per_second) for r in loop.journal
    ]
    calm = [rate for at, rate in rates if rate and at < now + CALM_SECONDS]
    busy = [rate for at, rate in rates if rate and at > ends - 3.0]
    assert calm, [record.observation.problems for record in loop.journal]
    assert max(calm) < 4.0
    assert max(busy) == pytest.approx(40.0, rel=0.25)
    sizes = [r.decision.target.prefill for r in loop.journal if r.decision.target]
    assert sizes[0] == 1
    assert sizes[-1] >= 2
    assert fleet.pools().prefill.desired_replicas == sizes[-1]
