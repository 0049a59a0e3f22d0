"""The loop: one tick after another, through any outage of the ports."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import structlog

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
            failures=await self._apply(target, now_seconds) if target else (),
            router=await self._turn(self.front_end, observation, now_seconds)
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
        seen = await self._ask("metrics", self.metrics.observe(now_seconds))
        if isinstance(seen, Observation):
            return seen
        return Observation(observed_at_seconds=now_seconds, window_seconds=0.0, problems=(seen,))

    async def _read(self, now_seconds: float) -> Pools:
        found = await self._ask("workload", self.workload.read(now_seconds))
        return found if isinstance(found, PerRole) else PerRole.of(lambda _: Unavailable(found))

    async def _apply(self, target: PerRole[int], now_seconds: float) -> tuple[WriteFailure, ...]:
        """Write both counts; the intent is saved first, so that no crash hides half a change."""
        self.memory = replace(self.memory, intent=Sized(now_seconds, target))
        if self.store is not None:
            await self.store.save(self.memory)
        failures = await self._scale(target)
        if not failures:
            self.memory = replace(self.memory, intent=None)
        return failures

    async def _scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        failures = await self._ask("scale", self.workload.scale(target))
        if isinstance(failures, tuple):
            return failures
        return tuple(WriteFailure(role, failures) for role in Role)

    async def _turn(
        self, front_end: FrontEnd, observation: Observation, now_seconds: float
    ) -> RouterTick:
        """Let the front end follow; by then the pair is scaled, and nothing can hold it up."""
        turn = front_end.turn(observation, self.memory, now_seconds, act=self.settings.act)
        found = await self._ask("router", turn)
        if isinstance(found, RouterTick):
            return found
        hold = Hold(HoldReason.POOL_UNKNOWN, found)
        decision = RouterDecision(
            decided_at_seconds=now_seconds, current=None, target=None, hold=hold
        )
        return RouterTick(pool=Unavailable(found), decision=decision)

    async def _ask(self, port: str, answer: Awaitable[T]) -> T | str:
        """Await a port's answer, or say why there is none: here a failure becomes a value."""
        try:
            async with asyncio.timeout(self.settings.deadline_seconds) as deadline:
                return await answer
        except Exception as error:
            if deadline.expired():
                why = f"{port}: no answer within {self.settings.deadline_seconds:g} s"
                log.warning("port too slow", port=port, why=why)
            else:  # expected outages are values, so this one is worth its traceback
                why = f"{port}: {type(error).__name__}: {error}"
                log.exception("port failed", port=port)
            return why

    def _decide(
        self, observation: Observation, pools: Pools, now_seconds: float, cap: GpuCap | None
    ) -> Decision:
        try:
            decision, self.memory = self.engine.decide(
                observation, pools, self.memory, now_seconds, cap
            )
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


def _current(pools: Pools) -> PerRole[int] | None:
    prefill, decode = pools
    if isinstance(prefill, PoolState) and isinstance(decode, PoolState):
        return PerRole(prefill.desired_replicas, decode.desired_replicas)
    return None
