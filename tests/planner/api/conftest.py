"""A planner's day for the API to show: real decisions on scripted observations."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from planner.api.app import make_app
from planner.api.view import ServiceView
from planner.front_end import RouterTick
from planner.journal import Journal, Record
from planner.ports import WriteFailure
from planner.telemetry import Telemetry
from policies.config import Guards, PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.router import RouterDecision
from policies.types import (
    Hold,
    HoldReason,
    Latency,
    Observation,
    PerRole,
    PoolState,
    Role,
    Unavailable,
)

TICK_SECONDS = 60.0
TICKS = 360
SETTINGS = PolicySettings(guards=Guards(scale_in_window_seconds=600), gpu_budget=16)


class StoppedClock:
    """A clock that tests set by hand."""

    def __init__(self, now_seconds: float) -> None:
        self.now = now_seconds

    def now_seconds(self) -> float:
        return self.now

    async def sleep_until(self, seconds: float) -> None:
        self.now = max(self.now, seconds)


def observation(index: int, replicas: PerRole[int]) -> Observation:
    """Six hours with a morning rise, a burst, a shift to long outputs, and an outage."""
    now = index * TICK_SECONDS
    if 200 <= index < 210:
        why = ("127.0.0.1:9090 refused the connection",)
        return Observation(observed_at_seconds=now, window_seconds=60.0, problems=why)
    rate = 80 - 64 * math.cos(index / 55) + (60 if 90 <= index < 105 else 0)
    rate *= 1 + 0.06 * math.sin(index * 1.7)
    input_tokens, output_tokens = (3000, 150) if index < 240 else (900, 450)
    load = rate * input_tokens / (66_000 * replicas.prefill)
    itl = 0.005 + 0.00004 * rate * output_tokens / 60 / replicas.decode
    ttft = 0.25 + 0.6 * load**3
    return Observation(
        observed_at_seconds=now,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(input_tokens, 1.1),
        output_tokens_mean=output_tokens,
        ttft=Latency(mean_seconds=ttft / 2, p95_seconds=ttft),
        itl=Latency(mean_seconds=itl, p95_seconds=itl * 1.3),
        waiting_requests=PerRole(float(max(0, round(14 * (load - 0.7)))), 0.0),
        running_requests=PerRole(rate * ttft / 2, rate * itl * output_tokens),
        kv_usage_fraction=0.4,
        kv_transfer_backlog_requests=float(max(0, round(5 * (load - 0.8)))),
    )


def day(settings: PolicySettings, ticks: int = TICKS) -> Iterator[Record]:
    """Decide tick by tick; a new replica is ready two ticks later, one write fails."""
    engine, memory = Engine(builtin("llama-3-8b-h100-fp8-tp1"), settings), Memory()
    replicas, ready = PerRole(2, 2), PerRole(2, 2)
    starting: list[PerRole[int]] = [ready] * 2
    for index in range(ticks):
        seen = observation(index, replicas)
        ready = starting.pop(0).zip(replicas).map(min)
        starting.append(replicas)
        pools = replicas.zip(ready).map(
            lambda pair: PoolState(desired_replicas=pair[0], ready_replicas=pair[1])
        )
        if index == 230:
            pools = PerRole(pools.prefill, Unavailable("deployment decode: 403 Forbidden"))
        decision, memory = engine.decide(seen, pools, memory, index * TICK_SECONDS)
        failures = (WriteFailure(Role.DECODE, "409 Conflict"),) if index == 1 else ()
        yield Record(
            observation=seen,
            pools=pools,
            decision=decision,
            applied=decision.changes,
            router=RouterTick(
                pool=PoolState(desired_replicas=1, ready_replicas=1),
                decision=RouterDecision(
                    decided_at_seconds=index * TICK_SECONDS,
                    current=1,
                    target=1,
                    requests_per_second=seen.requests_per_second,
                    hold=Hold(HoldReason.ALREADY_RIGHT, "one carries it all"),
                ),
            ),
            failures=failures,
            took_seconds=0.004,
        )
        if decision.changes and decision.target and not failures:
            replicas = decision.target


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock(0.0)


@pytest.fixture
def view(clock: StoppedClock) -> ServiceView:
    """A planner before its first tick."""
    return ServiceView(
        journal=Journal(),
        profile=builtin("llama-3-8b-h100-fp8-tp1"),
        settings=SETTINGS,
        mode="demo",
        clock=clock,
        tick_seconds=TICK_SECONDS,
        registry=CollectorRegistry(),
        summary=lambda: {
            "requests": 51234,
            "joint_attainment": 0.991,
            "ttft_attainment": 0.994,
            "itl_attainment": 0.997,
            "gpu_hours": 38.25,
            "static_peak_gpu_hours": 66.0,
            "scaling_events": 17,
        },
    )


@pytest.fixture(scope="session")
def records() -> tuple[Record, ...]:
    """The day, decided once, and foreseen as the loop does, which no client has to wait for."""
    lived = tuple(day(SETTINGS))
    for record in lived:
        assert record.decision.prospect or record.decision.hold
    return lived


@pytest.fixture
def lived(view: ServiceView, clock: StoppedClock, records: tuple[Record, ...]) -> ServiceView:
    """The same planner after its day."""
    telemetry = Telemetry(view)
    for record in records:
        view.journal.append(record)
        telemetry.observe(record)
        clock.now = record.decision.decided_at_seconds
    return view


class Server:
    """An application served by a thread of its own, for clients that block."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._events = asyncio.new_event_loop()
        self._runner = web.AppRunner(app, access_log=None)
        self._thread = threading.Thread(target=self._events.run_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return self._await(self._start())

    def __exit__(self, *_: object) -> None:
        self._await(self._runner.cleanup())
        self._events.call_soon_threadsafe(self._events.stop)
        self._thread.join()
        self._events.close()

    async def _start(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _await(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._events).result(timeout=10)


@pytest.fixture
def serve() -> type[Server]:
    """Serve an application in a block: `with serve(app) as address`."""
    return Server


@pytest.fixture
def server(lived: ServiceView) -> Iterator[str]:
    """The address of the planner after its day."""
    with Server(make_app(lived)) as address:
        yield address
