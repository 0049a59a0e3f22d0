"""The loop: one tick after another, through any outage of the ports."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import structlog

from planner import admission
from planner.clock import Stopwatch
from planner.front_end import FrontEnd, RouterTick
from planner.journal import Journal, Record
from planner.metrics.quality import QualitySettings, beside_pools
from planner.ports import Clock, MetricsSource, Workload, WriteFailure
from planner.store import MemoryStore
from policies.memory import Memory, Sized
from policies.router import RouterDecision
from policies.types import (
    Decision,
    GpuCap,
    Hold,
    HoldReason,
    Observation,
    PerRole,
    Pools,
    PoolState,
    Role,
    Unavailable,
)

T = TypeVar("T")
Listener = Callable[[Record], None]
Renewal = Callable[[Memory, float], Memory]

log = structlog.get_logger(__name__)

# Reading, budget, and as much again for the decision itself on a busy machine.
_DEADLINES_OF_A_DECISION = 3
_HEED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A port gave no answer, and why."""

    why: str


class Decider(Protocol):
    """The pure decision; `policies.engine.Engine` is the one in use."""

    def decide(
        self,
        observation: Observation,
        pools: Pools,
        memory: Memory,
        now_seconds: float,
        cap: GpuCap | None,
    ) -> tuple[Decision, Memory]:
        """Decide what should run now; return it with the memory for the next tick."""


class Budget(Protocol):
    """What the cluster grants; `planner.allowance.Allowance` is the one in use."""

    async def read(self, pools: Pools, now_seconds: float) -> GpuCap | None:
        """Cap both roles in time and without raising; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """How often to decide, how long a port may take in real seconds, and whether to act.

    With `foresee`, what a decision will do is worked out at once, for whoever asks later: a page
    that is opened asks of every decision in the journal.
    """

    tick_seconds: float = 10.0
    deadline_seconds: float = 8.0
    act: bool = False
    foresee: bool = True


@dataclass(slots=True, kw_only=True)
class Loop:
    """Everything a tick needs, and the memory that it hands to the next one."""

    metrics: MetricsSource
    workload: Workload
    clock: Clock
    engine: Decider
    budget: Budget | None = None
    front_end: FrontEnd | None = None
    settings: LoopSettings = LoopSettings()
    quality: QualitySettings = field(default_factory=QualitySettings)
    memory: Memory = field(default_factory=Memory)
    store: MemoryStore | None = None
    listeners: tuple[Listener, ...] = ()
    renew: Renewal | None = None
    journal: Journal = field(default_factory=Journal)

    async def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Tick at every multiple of `tick_seconds` until `until` says so after a tick.

        A tick that overruns costs the boundaries it has missed; they are not made up for.
        """
        while not until():
            step = self.settings.tick_seconds
            boundary = (math.floor(self.clock.now_seconds() / step) + 1) * step
            await self.clock.sleep_until(boundary)
            await self.tick(self.clock.now_seconds())

    async def tick(self, now_seconds: float) -> Record:
        """See, decide, act if told to, and record it all."""
        watch = Stopwatch()
        observation, pools = await asyncio.gather(
            self._observe(now_seconds), self._read(now_seconds)
        )
        observation = beside_pools(observation, pools, self.quality)
        cap = await self.budget.read(pools, now_seconds) if self.budget else None
        if self.renew is not None:
            self.memory = self.renew(self.memory, now_seconds)
        decision = self._decide(observation, pools, now_seconds, cap)
        target = decision.target if self.settings.act and decision.changes else None
        record = Record(
            observation=observation,
            pools=pools,
            decision=decision,
            applied=target is not None,
            failures=await self._apply(target, now_seconds, watch) if target else (),
            router=await self._turn(self.front_end, observation, now_seconds, watch)
            if self.front_end
            else None,
            took_seconds=watch.seconds,  # evaluated last: the writes count
        )
        self.journal.append(record)
        for listener in self.listeners:
            self._tell(listener, record)
        if self.store is not None:
            await self.store.save(self.memory)
        return record

    @staticmethod
    def _tell(listener: Listener, record: Record) -> None:
        """Tell one listener; a bug there costs what it would have told, not the ticks to come."""
        try:
            listener(record)
        except Exception:
            log.exception("a listener failed", now_seconds=record.decision.decided_at_seconds)

    async def _observe(self, now_seconds: float) -> Observation:
        seen = await self._ask("metrics", lambda: self.metrics.observe(now_seconds))
        if isinstance(seen, Failed):
            unknown = Observation(observed_at_seconds=now_seconds, window_seconds=0.0)
            return replace(unknown, problems=(seen.why,))
        return admission.observation(seen, admission.name_of(self.metrics), now_seconds)

    async def _read(self, now_seconds: float) -> Pools:
        found = await self._ask("workload", lambda: self.workload.read(now_seconds))
        if isinstance(found, Failed):
            unavailable = Unavailable(found.why)
            return PerRole(unavailable, unavailable)
        return admission.pools(found, admission.name_of(self.workload))

    async def _apply(
        self, target: PerRole[int], now_seconds: float, watch: Stopwatch
    ) -> tuple[WriteFailure, ...]:
        """Write both counts; the intent is saved first, so that no crash hides half a change."""
        if self._late(watch):
            why = (
                f"not written: {watch.seconds:.0f} s have passed since this tick began, as after a "
                "freeze, and others may have acted meanwhile; the next tick decides afresh"
            )
            return tuple(WriteFailure(role, why) for role in Role)
        self.memory = replace(self.memory, intent=Sized(now_seconds, target))
        if self.store is not None:
            await self.store.save(self.memory)
        failures = await self._scale(target)
        if not failures:
            self.memory = replace(self.memory, intent=None)
        return failures

    def _late(self, watch: Stopwatch) -> bool:
        """Whether longer has passed than reading, budget and decision may take together.

        A process that was stopped, or a machine that slept, wakes up with a decision of long ago.
        """
        return watch.seconds > _DEADLINES_OF_A_DECISION * self.settings.deadline_seconds

    async def _scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        answer = await self._ask("scale", lambda: self.workload.scale(target), finish=True)
        if isinstance(answer, Failed):
            return tuple(WriteFailure(role, answer.why) for role in Role)
        return admission.failures(answer, admission.name_of(self.workload))

    async def _turn(
        self,
        front_end: FrontEnd,
        observation: Observation,
        now_seconds: float,
        watch: Stopwatch,
    ) -> RouterTick:
        """Let the front end follow; by then the pair is scaled, and nothing can hold it up."""
        act = self.settings.act and not self._late(watch)
        found = await self._ask(
            "router", lambda: front_end.turn(observation, self.memory, now_seconds, act=act)
        )
        if not isinstance(found, Failed):
            return found
        hold = Hold(HoldReason.POOL_UNKNOWN, found.why)
        decision = RouterDecision(
            decided_at_seconds=now_seconds, current=None, target=None, hold=hold
        )
        return RouterTick(pool=Unavailable(found.why), decision=decision)

    async def _ask(
        self, port: str, ask: Callable[[], Awaitable[T]], *, finish: bool = False
    ) -> T | Failed:
        """Await a port's answer, or say why there is none: here a failure becomes a value.

        The port runs in a task of its own: what swallows its cancellation, or cancels itself, must
        not end the loop. With `finish` it is let end when the planner is told to, for half of a
        written pair is worse than both the old and the new one.
        """
        limit_seconds = self.settings.deadline_seconds
        try:
            task = asyncio.ensure_future(ask())
        except Exception as error:  # it is no coroutine, and has failed already
            log.exception("port failed", port=port)
            return Failed(f"{port}: {type(error).__name__}: {error}")
        try:
            done, _ = await asyncio.wait({task}, timeout=limit_seconds)
        except asyncio.CancelledError:
            if finish:
                await asyncio.wait({task}, timeout=limit_seconds)
            await _ended(task, port)
            raise
        if not done:
            why = f"{port}: no answer within {limit_seconds:g} s"
            log.warning("port too slow", port=port, why=why)
            await _ended(task, port)
            return Failed(why)
        try:
            return task.result()
        except asyncio.CancelledError:
            why = f"{port}: it cancelled itself"
            log.warning("port failed", port=port, why=why)
            return Failed(why)
        except Exception as error:  # expected outages are values: this one is worth its traceback
            log.exception("port failed", port=port)
            return Failed(f"{port}: {type(error).__name__}: {error}")

    def _decide(
        self, observation: Observation, pools: Pools, now_seconds: float, cap: GpuCap | None
    ) -> Decision:
        try:
            decision, memory = self.engine.decide(observation, pools, self.memory, now_seconds, cap)
            decision = admission.decided(decision, admission.name_of(self.engine))
            self.memory = memory
        except Exception as error:
            log.exception("the decision failed; holding", now_seconds=now_seconds)
            current = _current(pools)
            bug = f"a bug, {type(error).__name__}: {error}; the log has its traceback"
            hold = Hold(HoldReason.DECISION_FAILED, bug)
            return Decision(
                decided_at_seconds=now_seconds, current=current, target=current, hold=hold
            )
        return self._foreseen(decision) if self.settings.foresee else decision

    @staticmethod
    def _foreseen(decision: Decision) -> Decision:
        """Work out what it will do; a bug there costs the explanation, not the decision."""
        try:
            known = decision.prospect is not None
        except Exception:
            log.exception("what the decision will do cannot be foreseen")
            known = False
        return decision if known else replace(decision, foresight=None)


async def _ended(task: asyncio.Future[T], port: str) -> None:
    """Cancel what is too slow; what does not heed that is left behind, and told."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=_HEED_SECONDS)
    if not done:
        log.warning("port does not end when it is cancelled", port=port)


def _current(pools: Pools) -> PerRole[int] | None:
    prefill, decode = pools
    if isinstance(prefill, PoolState) and isinstance(decode, PoolState):
        return PerRole(prefill.desired_replicas, decode.desired_replicas)
    return None
