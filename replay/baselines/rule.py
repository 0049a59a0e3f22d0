"""What a baseline is: a rule that says which sizes it wants, and the bounds that hold for all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import Field, PositiveFloat

from policies.config import PolicySettings, Section
from policies.demand import Shape, shape_of
from policies.engine import known_pools
from policies.memory import Memory
from policies.profile import Profile
from policies.types import (
    Decision,
    Hold,
    HoldReason,
    Observation,
    PerRole,
    Pools,
    PoolState,
)


class Knobs(Section):
    """What a policy may be tuned with."""

    headroom: PositiveFloat = Field(
        default=1.0, description="sizes for this many times the load that is seen"
    )


class Rule(Protocol):
    """Says what sizes it wants. It may keep state: every run has a fresh one."""

    def size(
        self, seen: Observation, pools: PerRole[PoolState], now_seconds: float
    ) -> PerRole[int | None]:
        """Sizes wanted now; None for a role of which it knows too little to say."""


@dataclass(frozen=True, slots=True)
class Ruled:
    """A policy that follows a rule within the bounds and the GPU budget that hold for everyone."""

    rule: Rule
    profile: Profile
    settings: PolicySettings

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Decide for what the rule wants; lengths last seen stand in for those not seen now."""
        found = known_pools(pools)
        if isinstance(found, Hold):
            return Decision(
                decided_at_seconds=now_seconds, current=None, target=None, hold=found
            ), memory
        current = found.map(lambda pool: pool.desired_replicas)
        shape = shape_of(observation, memory.shape)
        memory = replace(memory, shape=shape)
        wanted = self.rule.size(_with_lengths(observation, shape), found, now_seconds)
        raw = current.zip(wanted).map(lambda pair: pair[0] if pair[1] is None else pair[1])
        target = within_limits(raw, self.profile, self.settings)
        hold = Hold(HoldReason.ALREADY_RIGHT, "the rule wants this size")
        return Decision(
            decided_at_seconds=now_seconds,
            current=current,
            target=target,
            raw=raw,
            hold=hold if target == current else None,
        ), memory


def _with_lengths(observation: Observation, shape: Shape | None) -> Observation:
    if shape is None:
        return observation
    return replace(
        observation,
        input_tokens=shape.prompt_tokens,
        output_tokens=shape.output_tokens,
        output_tokens_mean=shape.output_tokens_mean,
        prefix_hit_fraction=shape.prefix_hit_fraction,
    )


def within_limits(pair: PerRole[int], profile: Profile, settings: PolicySettings) -> PerRole[int]:
    """Bound a pair by minimum, maximum and budget.

    Above the budget both roles shrink in proportion, rounded down, and what is left over goes to
    decode: Dynamo 1.6.1's way. Example: (6, 12) of one GPU each within 12 becomes (4, 8).
    """
    roles, cost, budget = settings.roles, profile.gpus_per_replica, settings.gpu_budget
    pair = pair.zip(roles).map(
        lambda both: min(max(both[0], both[1].min_replicas), both[1].max_replicas)
    )
    gpus = pair.prefill * cost.prefill + pair.decode * cost.decode
    if budget is None or gpus <= budget:
        return pair
    prefill = max(roles.prefill.min_replicas, int(pair.prefill * budget / gpus))
    decode = (budget - prefill * cost.prefill) // cost.decode
    return PerRole(prefill, max(roles.decode.min_replicas, min(decode, pair.decode)))
