"""Runs a policy against a simulated fleet, from the first request to the last token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from policies.memory import Memory
from policies.types import Decision, Observation, PerRole, Pools, PoolState
from replay.fleet import Fleet
from replay.scoring import Score

# After the last arrival a fleet that cannot finish is not waited for longer than this.
PATIENCE_SECONDS = 3600.0


class Policy(Protocol):
    """Anything that sizes pools; `policies.engine.Engine` is one."""

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Decide what should run now."""


class Watch(Protocol):
    """How a policy sees a fleet; a fleet itself tells all that it counts, without delay."""

    def advance(self, until_seconds: float) -> None:
        """Let the fleet run, and look at it on the way."""

    def observe(self) -> Observation:
        """What is seen of it now."""


@dataclass(frozen=True, slots=True)
class Static:
    """A fleet of fixed size."""

    replicas: PerRole[int]

    def decide(
        self,
        observation: Observation,  # noqa: ARG002 - a policy's signature
        pools: Pools,
        memory: Memory,
        now_seconds: float,
    ) -> tuple[Decision, Memory]:
        """Decide for the same size at all times."""
        current = PerRole.of(
            lambda role: (
                pool.desired_replicas
                if isinstance(pool := pools[role], PoolState)
                else self.replicas[role]
            )
        )
        return Decision(
            decided_at_seconds=now_seconds, current=current, target=self.replicas
        ), memory


@dataclass(frozen=True, slots=True)
class Step:
    """One tick of a run."""

    observation: Observation
    pools: PerRole[PoolState]
    decision: Decision


def run(
    fleet: Fleet,
    policy: Policy,
    *,
    tick_seconds: float,
    on_step: Callable[[Step], None] | None = None,
    watch: Watch | None = None,
) -> Score:
    """Drive `fleet` with `policy` every `tick_seconds` until its requests are done.

    `on_step` sees each tick as it happens, so that a long run need not keep its history. The policy
    sees what `watch` does, or else the fleet itself.
    """
    watch = watch or fleet
    memory = Memory()
    waited_seconds = 0.0
    while waited_seconds < PATIENCE_SECONDS:
        now = fleet.now_seconds + tick_seconds
        watch.advance(now)
        if fleet.finished:
            break
        observation, pools = watch.observe(), fleet.pools()
        decision, memory = policy.decide(observation, PerRole(*pools), memory, now)
        if decision.changes and decision.target is not None:
            fleet.scale(decision.target)
        if on_step:
            on_step(Step(observation, pools, decision))
        waited_seconds = waited_seconds + tick_seconds if fleet.exhausted else 0.0
    return fleet.score()
