"""The front end's turn in a tick, through the loop: it follows, and never holds up the pair."""

from __future__ import annotations

import asyncio
import json

import pytest
from prometheus_client import CollectorRegistry

from planner.api.schemas import Tick
from planner.api.view import ServiceView
from planner.clock import AcceleratedClock
from planner.config import load
from planner.errors import UserError
from planner.explain import explain_router
from planner.front_end import FrontEnd, make_front_end
from planner.loop import Loop, LoopSettings
from planner.metrics.scripted import ScriptedMetrics
from planner.telemetry import Telemetry
from planner.workloads.in_memory import InMemoryPool, InMemoryWorkload
from policies.config import PolicySettings, RouterSettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.profile import builtin
from policies.router import Router
from policies.types import HoldReason, Observation, PerRole, PoolState, Unavailable

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
SETTINGS = PolicySettings(router=RouterSettings(requests_per_second_per_replica=50.0))
BUSY = Observation(
    observed_at_seconds=0.0,
    window_seconds=60.0,
    requests_per_second=120.0,
    input_tokens=Lengths.lognormal(1000.0),
    output_tokens_mean=200.0,
)


class Refusing(InMemoryPool):
    async def scale(self, replicas: int) -> str | None:
        return "refused"


class Silent(InMemoryPool):
    async def read(self, now_seconds: float) -> PoolState | Unavailable:
        return await asyncio.Future()


class Broken(InMemoryPool):
    async def read(self, now_seconds: float) -> PoolState | Unavailable:
        raise ZeroDivisionError("a bug")


class Hearing(InMemoryPool):
    heard: int | None = None

    def advised(self, replicas: int, now_seconds: float) -> None:
        self.heard = replicas


def loop_of(pool: InMemoryPool, *, act: bool = True, deadline_seconds: float = 5.0) -> Loop:
    return Loop(
        metrics=ScriptedMetrics([BUSY]),
        workload=InMemoryWorkload(PerRole(1, 1)),
        clock=AcceleratedClock(),
        engine=Engine(PROFILE, SETTINGS),
        front_end=make_front_end(pool, PROFILE, SETTINGS),
        settings=LoopSettings(act=act, deadline_seconds=deadline_seconds),
    )


async def test_it_is_scaled_by_the_rate_beside_the_pair() -> None:
    pool = InMemoryPool(1)
    record = await loop_of(pool).tick(0.0)
    assert pool.replicas == 3
    assert record.applied
    assert record.router.applied
    assert explain_router(record.router.decision) == "scale router 1->3: sized for 120 requests/s"
    assert record.write_failures == {}


async def test_in_advise_mode_it_is_only_advised_and_hears_it() -> None:
    pool = Hearing(1)
    record = await loop_of(pool, act=False).tick(0.0)
    assert (pool.replicas, pool.heard) == (1, 3)
    assert not record.router.applied


@pytest.mark.parametrize(
    ("pool", "words"),
    [
        pytest.param(Silent(1), "router: no answer within 0.05 s", id="silent"),
        pytest.param(Broken(1), "router: ZeroDivisionError: a bug", id="a-bug"),
    ],
)
async def test_what_cannot_be_read_holds_and_the_pair_goes_on(pool, words) -> None:
    record = await loop_of(pool, deadline_seconds=0.05).tick(0.0)
    assert record.applied
    assert record.router.decision.hold.reason is HoldReason.POOL_UNKNOWN
    assert record.router.decision.hold.detail == words
    assert "a pool cannot be read" in explain_router(record.router.decision)


async def test_a_refused_write_is_told_by_its_name() -> None:
    record = await loop_of(Refusing(1)).tick(0.0)
    assert record.write_failures == {"router": "refused"}


async def test_the_api_shows_its_turn_and_null_where_there_is_none() -> None:
    loop = loop_of(InMemoryPool(1))
    shown = json.loads(Tick.of(await loop.tick(0.0), SETTINGS.slo).model_dump_json())["router"]
    assert shown["explanation"] == "scale router 1->3: sized for 120 requests/s"
    assert shown["decision"]["target"] == 3
    assert shown["pool"]["ready_replicas"] == 1
    assert (shown["applied"], shown["failure"]) == (True, None)
    loop.front_end = FrontEnd(Broken(1), Router(PROFILE, SETTINGS, SETTINGS.router))
    shown = json.loads(Tick.of(await loop.tick(10.0), SETTINGS.slo).model_dump_json())["router"]
    assert shown["pool"] == {"why": "router: ZeroDivisionError: a bug"}
    loop.front_end = None
    assert Tick.of(await loop.tick(20.0), SETTINGS.slo).router is None


async def test_the_metrics_show_it_as_a_role() -> None:
    loop = loop_of(Refusing(1))
    registry = CollectorRegistry()
    view = ServiceView(
        journal=loop.journal,
        profile=PROFILE,
        settings=SETTINGS,
        mode="act",
        clock=loop.clock,
        tick_seconds=10.0,
        registry=registry,
    )
    telemetry = Telemetry(view)
    telemetry.observe(await loop.tick(0.0))

    def sample(name: str) -> float | None:
        return registry.get_sample_value(f"pd_planner_{name}", {"role": "router"})

    assert sample("desired_replicas") == sample("solved_replicas") == 3
    assert sample("current_replicas") == sample("ready_replicas") == 1
    assert sample("write_failures_total") == 1
    assert registry.get_sample_value("pd_planner_router_requests_per_second") == 120
    assert registry.get_sample_value("pd_planner_port_errors_total", {"port": "scale"}) == 1


async def test_an_explanation_says_why_it_holds() -> None:
    loop = loop_of(InMemoryPool(9))
    record = await loop.tick(0.0)
    assert explain_router(record.router.decision) == (
        "hold router 9: scale-in waits: more was wanted within the last 300 s; "
        "sized for 120 requests/s"
    )


def test_without_a_pool_or_a_way_to_size_it_there_is_none() -> None:
    assert make_front_end(None, PROFILE, SETTINGS) is None
    assert make_front_end(InMemoryPool(1), PROFILE, PolicySettings()) is None


CONFIG = """
metrics: {url: 'http://127.0.0.1:9', model: m}
workload:
  namespace: llm
  prefill: {kind: Deployment, name: p}
  decode: {kind: Deployment, name: d}
"""


@pytest.mark.parametrize(
    "half",
    [
        pytest.param("  router: {kind: Deployment, name: r}\n", id="a-pool-without-a-size"),
        pytest.param(
            "policy: {router: {requests_per_second_per_replica: 9}}\n", id="a-size-without-a-pool"
        ),
    ],
)
def test_half_of_a_front_end_is_a_mistake_that_is_explained(tmp_path, half) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(CONFIG + half)
    with pytest.raises(UserError, match="give both, or neither"):
        load(file)
