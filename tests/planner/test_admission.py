"""Whatever a port from outside gives, a decision rests on nothing that cannot be true."""

from __future__ import annotations

import asyncio
import math
import threading
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from planner.clock import AcceleratedClock
from planner.loop import Loop, LoopSettings
from planner.metrics.scripted import ScriptedMetrics
from planner.workloads.in_memory import InMemoryWorkload
from policies.config import PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.profile import builtin
from policies.types import (
    Decision,
    HoldReason,
    Latency,
    Observation,
    PerRole,
    PoolState,
    Quality,
    Transfer,
    Trust,
    Unavailable,
)

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
GOOD = Observation(
    observed_at_seconds=0.0,
    window_seconds=60.0,
    requests_per_second=150.0,
    arrival_dispersion=1.0,
    finished_per_second=150.0,
    input_tokens=Lengths.lognormal(2000.0),
    output_tokens=Lengths.lognormal(300.0),
    output_tokens_mean=300.0,
    prefix_hit_fraction=0.1,
    ttft=Latency(mean_seconds=0.5),
    itl=Latency(mean_seconds=0.02),
    waiting_requests=PerRole(0.0, 0.0),
    running_requests=PerRole(5.0, 50.0),
    kv_usage_fraction=0.5,
    kv_usage_max_fraction=0.6,
    kv_transfer_backlog_requests=0.0,
    kv_transfer=Transfer(mean_seconds=0.01),
    live_pods=PerRole(2.0, 2.0),
)
POOL = PoolState(desired_replicas=2, ready_replicas=2)
NAN = math.nan


class Foreign(ScriptedMetrics):
    """A metrics source of somebody else's."""

    def __init__(self, seen: object) -> None:
        super().__init__([seen])


class ForeignWorkload(InMemoryWorkload):
    """A workload of somebody else's."""

    def __init__(self, found: object = None, answer: object = ()) -> None:
        super().__init__(PerRole(2, 2))
        self.found, self.answer = found, answer

    async def read(self, now_seconds: float):
        return self.found if self.found is not None else await super().read(now_seconds)

    async def scale(self, target: PerRole[int]):
        return self.answer


def loop_of(metrics: object = None, workload: object = None, engine: object = None) -> Loop:
    return Loop(
        metrics=metrics or Foreign(GOOD),
        workload=workload or InMemoryWorkload(PerRole(2, 2)),
        clock=AcceleratedClock(),
        engine=engine or Engine(PROFILE, PolicySettings()),
        settings=LoopSettings(act=True, deadline_seconds=0.3),
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"requests_per_second": NAN}, "requests_per_second is nan", id="nan"),
        pytest.param({"requests_per_second": math.inf}, "requests_per_second is inf", id="inf"),
        pytest.param({"requests_per_second": -1.0}, "requests_per_second is -1.0", id="negative"),
        pytest.param({"requests_per_second": "9"}, "requests_per_second is '9'", id="text"),
        pytest.param({"requests_per_second": True}, "requests_per_second is True", id="flag"),
        pytest.param({"observed_at_seconds": None}, "observed_at_seconds is None", id="no-time"),
        pytest.param({"observed_at_seconds": 1.7e12}, "and now is 10", id="milliseconds"),
        pytest.param({"window_seconds": NAN}, "window_seconds is nan", id="no-window"),
    ],
)
async def test_a_demand_that_cannot_be_true_holds_and_names_whose_it_was(change, field) -> None:
    workload = InMemoryWorkload(PerRole(2, 2))
    record = await loop_of(Foreign(replace(GOOD, **change)), workload).tick(10.0)
    assert record.decision.hold.reason is HoldReason.METRICS_UNKNOWN
    assert "test_admission.Foreign" in record.decision.hold.detail
    assert field in record.decision.hold.detail
    assert record.observation.trust is Trust.NONE
    assert workload.replicas == PerRole(2, 2)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"waiting_requests": PerRole(NAN, 0.0)}, "waiting_requests.prefill is nan"),
        ({"waiting_requests": None}, "waiting_requests is None; a PerRole is wanted"),
        ({"running_requests": (1, 2)}, "running_requests is (1, 2); a PerRole is wanted"),
        ({"ttft": 0.3}, "ttft is 0.3; a Latency is wanted"),
        ({"itl": Latency(p95_seconds=-0.1)}, "itl.p95_seconds is -0.1"),
        ({"kv_usage_fraction": 50.0}, "kv_usage_fraction is 50.0; a fraction"),
        ({"input_tokens": 2000.0}, "input_tokens is 2000.0; Lengths of finite tokens"),
        ({"output_tokens": Lengths((NAN,), (1.0,))}, "output_tokens is Lengths"),
        (
            {"pool_quality": PerRole(Quality(age_seconds=NAN), Quality())},
            "pool_quality.prefill.age",
        ),
        ({"trust": "full"}, "trust is 'full'; a Trust is wanted"),
        ({"problems": "none"}, "problems is 'none'; a tuple of sentences"),
    ],
)
async def test_any_other_field_that_cannot_be_true_is_unknown_and_forbids_scaling_in(change, field):
    record = await loop_of(Foreign(replace(GOOD, **change))).tick(10.0)
    (problem,) = record.observation.problems
    assert problem.startswith("metrics: of ")
    assert "test_admission.Foreign, " in problem
    assert field in problem
    assert record.observation.trust is Trust.SCALE_OUT_ONLY
    assert record.observation.requests_per_second == 150.0


async def test_what_can_be_true_is_taken_as_it_is() -> None:
    seen = replace(GOOD, requests_per_second=np.float32(150.0), running_requests=PerRole(5, None))
    record = await loop_of(Foreign(seen)).tick(10.0)
    assert record.observation is seen


VALUES = st.sampled_from(
    [None, NAN, math.inf, -1.0, "x", True, (), {}, object(), 10**400, 1j, PerRole(NAN, None), 5.0]
)


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Observation)]), VALUES, max_size=4))
def test_nothing_in_an_observation_ends_the_loop_or_its_decision(change) -> None:
    with capture_logs():
        record = asyncio.run(loop_of(Foreign(replace(GOOD, **change))).tick(10.0))
    held = record.decision.hold
    assert held is None or held.reason is not HoldReason.DECISION_FAILED, held


@pytest.mark.parametrize("seen", [None, 3, {"requests_per_second": 3}, Observation])
async def test_no_observation_at_all_is_named(seen) -> None:
    record = await loop_of(Foreign(seen)).tick(10.0)
    assert "an Observation is wanted" in record.decision.hold.detail


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (PerRole(POOL, replace(POOL, desired_replicas=NAN)), "decode, desired_replicas is nan"),
        (PerRole(POOL, replace(POOL, desired_replicas=2.5)), "desired_replicas is 2.5; a whole"),
        (PerRole(POOL, replace(POOL, ready_replicas=-1)), "ready_replicas is -1"),
        (PerRole(POOL, replace(POOL, ready_replicas=None)), "ready_replicas is None"),
        (PerRole(POOL, replace(POOL, gpus_per_replica="8")), "gpus_per_replica is '8'"),
        (PerRole(POOL, replace(POOL, startup_seconds_p90=NAN)), "startup_seconds_p90 is nan"),
        (PerRole(POOL, replace(POOL, starting_ages_seconds=(NAN,))), "starting_ages_seconds is"),
        (PerRole(POOL, None), "None for decode"),
        ((POOL, POOL), "a PerRole of both pools is wanted"),
    ],
)
async def test_a_pool_that_cannot_be_true_is_unavailable(found, words) -> None:
    record = await loop_of(workload=ForeignWorkload(found)).tick(10.0)
    assert isinstance(record.pools.decode, Unavailable)
    assert "test_admission.ForeignWorkload" in record.pools.decode.why
    assert words in record.pools.decode.why
    assert record.decision.hold.reason is HoldReason.POOL_UNKNOWN


@pytest.mark.parametrize("answer", [None, "done", (3,), [1]])
async def test_a_write_that_does_not_say_what_came_of_it_has_failed(answer) -> None:
    record = await loop_of(workload=ForeignWorkload(answer=answer)).tick(10.0)
    assert ["a tuple of WriteFailure is wanted" in one.why for one in record.failures] == [True] * 2


@pytest.mark.parametrize(
    "target", [PerRole(NAN, 2), PerRole(2.5, 2), PerRole(-1, 2), PerRole(None, 2), (3, 4), "3"]
)
async def test_a_policy_s_sizes_that_are_none_hold(target) -> None:
    class Policy:
        def decide(self, _observation, _pools, memory, now_seconds, _cap):
            decided = Decision(decided_at_seconds=now_seconds, current=None, target=target)
            return decided, memory

    workload = InMemoryWorkload(PerRole(2, 2))
    with capture_logs():
        record = await loop_of(workload=workload, engine=Policy()).tick(10.0)
    assert record.decision.hold.reason is HoldReason.DECISION_FAILED
    assert "Policy: target is" in record.decision.hold.detail
    assert workload.replicas == PerRole(2, 2)


class Plain:
    """No coroutine: it answers, or raises, when it is called."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def observe(self, now_seconds: float) -> Observation:
        if self.error:
            raise self.error
        return GOOD


class CancelsItself:
    async def observe(self, now_seconds: float) -> Observation:
        raise asyncio.CancelledError


class Hangs:
    async def observe(self, now_seconds: float) -> Observation:
        return await asyncio.Future()


class HeedsNothing:
    """Swallows its cancellation, and goes on."""

    def __init__(self) -> None:
        self.enough = asyncio.Event()

    async def observe(self, now_seconds: float) -> Observation:
        while not self.enough.is_set():
            try:
                await self.enough.wait()
            except asyncio.CancelledError:
                continue
        return GOOD


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(lambda: Plain(None), "metrics: TypeError", id="no-coroutine"),
        pytest.param(lambda: Plain(KeyError("x")), "metrics: KeyError: 'x'", id="raises-at-once"),
        pytest.param(CancelsItself, "metrics: it cancelled itself", id="cancels-itself"),
        pytest.param(Hangs, "metrics: no answer within 0.3 s", id="hangs"),
        pytest.param(HeedsNothing, "metrics: no answer within 0.3 s", id="heeds-nothing"),
    ],
)
async def test_a_source_that_does_not_behave_is_an_outage_and_the_loop_goes_on(make, why) -> None:
    source = make()
    loop = loop_of(source)
    async with asyncio.timeout(20):
        with capture_logs():
            await loop.run(until=lambda: len(loop.journal) == 2)
    for record in loop.journal:
        assert why in record.decision.hold.detail
    if isinstance(source, HeedsNothing):
        source.enough.set()


async def test_a_decision_of_before_a_freeze_is_not_written() -> None:
    """The process is stopped, as by SIGSTOP, while it reads: others may have acted since."""

    class Frozen(ScriptedMetrics):
        async def observe(self, now_seconds: float) -> Observation:
            frozen.wait(1.2)  # the whole process stands, the deadline's clock runs on
            return GOOD

    frozen = threading.Event()
    workload = InMemoryWorkload(PerRole(2, 2))
    loop = loop_of(Frozen([GOOD]), workload)
    record = await loop.tick(10.0)
    assert workload.replicas == PerRole(2, 2)
    assert loop.memory.intent is None
    assert ["the next tick decides afresh" in one.why for one in record.failures] == [True] * 2
    loop.metrics = Foreign(GOOD)
    assert not (await loop.tick(20.0)).failures
    assert workload.replicas != PerRole(2, 2)


async def test_a_write_that_has_begun_is_finished_before_the_end() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    class Slow(InMemoryWorkload):
        async def scale(self, target: PerRole[int]):
            begun.set()
            await may_end.wait()
            return await super().scale(target)

    workload = Slow(PerRole(2, 2))
    loop = loop_of(workload=workload)
    tick = asyncio.create_task(loop.tick(10.0))
    await begun.wait()
    tick.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await tick
    assert workload.replicas != PerRole(2, 2)
