"""Our policies behind the hook of Dynamo's replay: its snapshot in, absolute targets out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from policies.memory import Memory
from policies.types import PerRole
from replay.backends.dynamo.snapshot import Gauge, Pools, Snapshot
from replay.simulator import Policy, Step


class Targets(TypedDict):
    """Dynamo's words; a target of None leaves that pool as it is."""

    target_prefill: int | None
    target_decode: int | None
    next_tick_ms: float


class Hook:
    """Has a policy decide every `tick_seconds`, as the service would.

    Dynamo's clock starts at the first arrival, which is `first_seconds` into the trace.
    """

    def __init__(
        self,
        policy: Policy,
        gauge: Gauge,
        pools: Pools,
        *,
        tick_seconds: float,
        first_seconds: float = 0.0,
    ) -> None:
        self._policy, self._gauge, self._pools = policy, gauge, pools
        self._tick_ms, self._first_seconds = 1000.0 * tick_seconds, first_seconds
        self._memory = Memory()
        self.on_step: Callable[[Step], None] | None = None

    def initial_tick_ms(self) -> float:
        """When Dynamo is to call for the first time."""
        return self._tick_ms

    def on_tick(self, snapshot: Snapshot) -> Targets:
        """Decide on one snapshot."""
        now = self._first_seconds + snapshot["now_ms"] / 1000
        observation = self._gauge.observe(snapshot, now)
        pools = self._pools.read(snapshot, now)
        decision, self._memory = self._policy.decide(
            observation, PerRole(*pools), self._memory, now
        )
        if self.on_step:
            self.on_step(Step(observation, pools, decision))
        targets = Targets(
            target_prefill=None,
            target_decode=None,
            next_tick_ms=snapshot["now_ms"] + self._tick_ms,
        )
        if decision.changes and decision.target is not None:
            self._pools.scale(decision.target, now)
            targets["target_prefill"] = decision.target.prefill
            targets["target_decode"] = decision.target.decode
        return targets
