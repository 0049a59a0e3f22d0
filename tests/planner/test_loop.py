import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from planner.clock import AcceleratedClock
from planner.journal import Record
from planner.loop import Loop, LoopSettings
from planner.metrics.scripted import ScriptedMetrics
from planner.ports import WriteFailure
from planner.store import MemoryStore
from planner.workloads.in_memory import InMemoryWorkload
from policies.config import Guards, PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.types import (
    Decision,
    GpuCap,
    Hold,
    HoldReason,
    Observation,
    PerRole,
    Pools,
    Role,
    Trust,
    Unavailable,
)

SEEN = Observation(observed_at_seconds=0.0, window_seconds=60.0, requests_per_second=2.0)
ONE_EACH = PerRole(1, 1)


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


class Wants:
    """Decides for a fixed pair whatever it sees, or fails when told to."""

    def __init__(self, *targets: PerRole[int] | Exception) -> None:
        self.targets = list(targets)
        self.seen: list[tuple[Observation, Pools]] = []

    def decide(
        self,
        observation: Observation,
        pools: Pools,
        memory: Memory,
        now_seconds: float,
        cap: GpuCap | None,
    ) -> tuple[Decision, Memory]:
        self.seen.append((observation, pools))
        target = self.targets.pop(0) if len(self.targets) > 1 else self.targets[0]
        if isinstance(target, Exception):
            raise target
        unknown = Hold(HoldReason.POOL_UNKNOWN, "?")
        known = not any(isinstance(pool, Unavailable) for pool in pools)
        hold = None if known else unknown
        return Decision(
            decided_at_seconds=now_seconds, current=None, target=target, hold=hold
        ), memory


class Stuck(InMemoryWorkload):
    """Never answers."""

    async def read(self, now_seconds: float) -> Pools:
        return await asyncio.Future()

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        return await asyncio.Future()


class Unwritable(InMemoryWorkload):
    """Can be read; a write raises what no port should raise."""

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        raise OSError(f"no route for {target}")


def make_loop(
    engine: Wants,
    *,
    metrics: ScriptedMetrics | None = None,
    workload: InMemoryWorkload | None = None,
    act: bool = True,
    deadline_seconds: float = 5.0,
) -> Loop:
    return Loop(
        metrics=metrics or ScriptedMetrics([SEEN]),
        workload=workload or InMemoryWorkload(ONE_EACH),
        clock=AcceleratedClock(),
        engine=engine,
        settings=LoopSettings(act=act, deadline_seconds=deadline_seconds),
    )


async def test_it_ticks_on_every_boundary() -> None:
    loop = make_loop(Wants(ONE_EACH))
    loop.clock = AcceleratedClock(start_seconds=13.0)
    await loop.run(until=lambda: len(loop.journal) == 3)
    assert [r.decision.decided_at_seconds for r in loop.journal] == [20.0, 30.0, 40.0]


async def test_replicas_that_nobody_scrapes_make_the_metrics_doubtful() -> None:
    engine = Wants(ONE_EACH)
    seen = replace(SEEN, live_pods=PerRole(4.0, 2.0))
    four_each = InMemoryWorkload(PerRole(4, 4))
    record = await make_loop(engine, metrics=ScriptedMetrics([seen]), workload=four_each).tick(0.0)
    assert engine.seen[0][0] is record.observation
    assert record.observation.trust is Trust.SCALE_OUT_ONLY
    assert "2 decode pods answer, but 4 replicas are ready" in record.observation.problems[0]


class Granting:
    """A cluster that grants so many GPUs."""

    def __init__(self, gpus: int) -> None:
        self.cap = GpuCap(gpus, "a quota")

    async def read(self, pools: Pools, now_seconds: float) -> GpuCap:
        return self.cap


async def test_what_the_cluster_grants_bounds_the_decision() -> None:
    profile = builtin("llama-3-8b-h100-fp8-tp1")
    seen = Observation(
        observed_at_seconds=0.0,
        window_seconds=60.0,
        requests_per_second=200.0,
        input_tokens=Lengths.lognormal(2000.0),
        output_tokens_mean=200.0,
    )
    loop = make_loop(Wants(ONE_EACH), metrics=ScriptedMetrics([seen]))
    loop.engine = Engine(profile, PolicySettings())
    loop.budget = Granting(5)
    record = await loop.tick(0.0)
    assert record.decision.target is not None
    assert sum(record.decision.target) == 5
    assert any("a quota" in note for note in record.decision.notes)


async def test_a_tick_that_overruns_skips_the_boundaries_it_missed() -> None:
    loop = make_loop(Wants(ONE_EACH))

    class Slow(ScriptedMetrics):
        async def observe(self, now_seconds: float) -> Observation:
            await loop.clock.sleep_until(now_seconds + 25.0)
            return SEEN

    loop.metrics = Slow([SEEN])
    await loop.run(until=lambda: len(loop.journal) == 2)
    assert [r.decision.decided_at_seconds for r in loop.journal] == [10.0, 40.0]


@pytest.mark.parametrize(
    ("act", "replicas"),
    [pytest.param(True, PerRole(3, 4), id="act"), pytest.param(False, ONE_EACH, id="advise")],
)
async def test_only_act_mode_scales(act: bool, replicas: PerRole[int]) -> None:
    workload = InMemoryWorkload(ONE_EACH)
    record = await make_loop(Wants(PerRole(3, 4)), workload=workload, act=act).tick(10.0)
    assert workload.replicas == replicas
    assert record.applied == act
    assert record.decision.target == PerRole(3, 4)


async def test_metrics_that_raise_become_unknown_and_the_loop_goes_on() -> None:
    engine = Wants(ONE_EACH)
    loop = make_loop(engine, metrics=ScriptedMetrics([ConnectionError("refused"), SEEN]))
    with capture_logs() as logs:
        await loop.tick(10.0)
        await loop.tick(20.0)
    first, second = (observation for observation, _ in engine.seen)
    assert first.requests_per_second is None
    assert first.problems == ("metrics: ConnectionError: refused",)
    assert second == SEEN
    assert [entry["event"] for entry in logs] == ["port failed"]


async def test_a_workload_without_an_answer_becomes_unavailable() -> None:
    loop = make_loop(Wants(PerRole(9, 9)), workload=Stuck(ONE_EACH), deadline_seconds=0.01)
    record = await loop.tick(10.0)
    assert record.pools == PerRole.of(lambda _: Unavailable("workload: no answer within 0.01 s"))
    assert not record.applied


async def test_a_write_that_raises_is_a_failure_of_both_roles() -> None:
    record = await make_loop(Wants(PerRole(2, 2)), workload=Unwritable(ONE_EACH)).tick(10.0)
    assert [failure.role for failure in record.failures] == [Role.PREFILL, Role.DECODE]
    assert "no route" in record.failures[0].why


async def test_a_bug_in_the_decision_holds_and_is_logged() -> None:
    workload = InMemoryWorkload(ONE_EACH)
    loop = make_loop(Wants(ZeroDivisionError("division by zero"), PerRole(2, 2)), workload=workload)
    with capture_logs() as logs:
        record = await loop.tick(10.0)
    assert record.decision.hold is not None
    assert record.decision.hold.reason is HoldReason.DECISION_FAILED
    assert record.decision.target == ONE_EACH
    assert "ZeroDivisionError: division by zero" in record.decision.hold.detail
    assert any(entry.get("exc_info") for entry in logs)

    await loop.tick(20.0)
    assert workload.replicas == PerRole(2, 2)


class Unforeseeable(Wants):
    """Decides, but cannot say what will come of it."""

    def decide(self, *arguments: object) -> tuple[Decision, Memory]:
        decision, memory = super().decide(*arguments)
        return replace(decision, foresight=lambda _: 1 / 0), memory


async def test_a_bug_in_the_explanation_costs_the_explanation_alone() -> None:
    workload = InMemoryWorkload(ONE_EACH)
    with capture_logs() as logs:
        record = await make_loop(Unforeseeable(PerRole(2, 2)), workload=workload).tick(10.0)
    assert record.decision.prospect is None
    assert workload.replicas == PerRole(2, 2)
    assert any(entry.get("exc_info") for entry in logs)


async def test_listeners_hear_every_record() -> None:
    loop = make_loop(Wants(ONE_EACH))
    heard: list[float] = []
    loop.listeners = (lambda record: heard.append(record.decision.decided_at_seconds),)
    await loop.tick(10.0)
    await loop.tick(20.0)
    assert heard == [10.0, 20.0]


async def test_a_listener_that_fails_costs_neither_the_others_nor_the_ticks_to_come() -> None:
    heard: list[Record] = []

    def broken(_: Record) -> None:
        raise KeyError("a bug")

    loop = make_loop(Wants(ONE_EACH))
    loop.listeners = (broken, heard.append)
    with capture_logs() as logs:
        await loop.run(until=lambda: len(loop.journal) == 2)
    assert len(heard) == 2
    assert [line["event"] for line in logs] == ["a listener failed"] * 2


async def test_cancelling_the_loop_cancels_the_port_it_waits_for() -> None:
    loop = make_loop(Wants(ONE_EACH), workload=Stuck(ONE_EACH), deadline_seconds=60.0)
    task = asyncio.create_task(loop.run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5.0)


class Flaky(InMemoryWorkload):
    """Fails to be read, or to be written, as its script says."""

    def __init__(self, replicas: PerRole[int], script: list[str]) -> None:
        super().__init__(replicas)
        self.script = script
        self.now = ""

    async def read(self, now_seconds: float) -> Pools:
        self.now = self.script.pop(0)
        if self.now == "unreadable":
            raise ConnectionError("no API server")
        return await super().read(now_seconds)

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        if self.now == "unwritable":
            raise ConnectionError("no API server")
        return await super().scale(target)


BUSY = Observation(
    observed_at_seconds=0.0,
    window_seconds=60.0,
    requests_per_second=150.0,
    input_tokens=Lengths.lognormal(2000.0),
    output_tokens_mean=300.0,
)
BLIND = Observation(observed_at_seconds=0.0, window_seconds=60.0)
NEVER_STALE = PolicySettings(guards=Guards(stale_after_seconds=3600.0))
SEEN_OR_NOT = st.sampled_from([BUSY, BLIND, ConnectionError("no Prometheus")])
REACHED_OR_NOT = st.sampled_from(["fine", "unreadable", "unwritable"])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(SEEN_OR_NOT, REACHED_OR_NOT), min_size=1, max_size=12))
def test_through_any_outage_it_ticks_on_and_scales_only_on_what_it_knows(
    script: list[tuple[Observation | Exception, str]],
) -> None:
    workload = Flaky(PerRole(2, 2), [reached for _, reached in script])
    loop = Loop(
        metrics=ScriptedMetrics([seen for seen, _ in script]),
        workload=workload,
        clock=AcceleratedClock(),
        engine=Engine(builtin("llama-3-8b-h100-fp8-tp1"), NEVER_STALE),
        settings=LoopSettings(act=True),
    )
    with capture_logs():
        asyncio.run(loop.run(until=lambda: len(loop.journal) == len(script)))
    for record, (seen, reached) in zip(loop.journal, script, strict=True):
        if seen is not BUSY or reached == "unreadable":
            assert not record.applied
        assert bool(record.failures) == (record.applied and reached == "unwritable")
    knew = any(seen is BUSY and reached == "fine" for seen, reached in script)
    assert (workload.replicas != PerRole(2, 2)) == knew


class Dying(InMemoryWorkload):
    """Between the two writes of its first change it waits for the process to end."""

    def __init__(self, replicas: PerRole[int]) -> None:
        super().__init__(replicas)
        self.half = asyncio.Event()

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        self.replicas = PerRole(self.replicas.prefill, target.decode)
        self.half.set()
        return await asyncio.Future()


async def test_a_crash_between_two_writes_is_told_after_the_restart(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    dying = Dying(ONE_EACH)
    loop = make_loop(Wants(PerRole(3, 4)), workload=dying, deadline_seconds=0.2)
    loop.store = MemoryStore(file)
    tick = asyncio.create_task(loop.tick(0.0))
    await dying.half.wait()
    tick.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tick
    again = make_loop(Wants(ONE_EACH), workload=InMemoryWorkload(PerRole(1, 4)))
    again.engine = Engine(builtin("llama-3-8b-h100-fp8-tp1"), PolicySettings())
    again.memory = MemoryStore(file).load()
    blind = Observation(observed_at_seconds=10.0, window_seconds=60.0)
    again.metrics = ScriptedMetrics([blind])
    record = await again.tick(10.0)
    assert any("prefill is 1 instead of 3" in note for note in record.decision.notes)
    assert record.decision.target == PerRole(3, 4)
    assert again.memory.intent is None


async def test_a_change_that_was_refused_in_part_stays_an_intent() -> None:
    loop = make_loop(Wants(PerRole(3, 4)), workload=Unwritable(ONE_EACH))
    await loop.tick(0.0)
    assert loop.memory.intent is not None
    assert loop.memory.intent.replicas == PerRole(3, 4)
