"""What a decision comes to, in one word: for counters, colours and events."""

from __future__ import annotations

from enum import StrEnum

from policies.types import Decision, HoldReason

# Holds for want of knowledge: somebody should look.
BLIND = frozenset(
    {
        HoldReason.METRICS_UNKNOWN,
        HoldReason.METRICS_STALE,
        HoldReason.POOL_UNKNOWN,
        HoldReason.DECISION_FAILED,
    }
)


class Outcome(StrEnum):
    """The direction of a decision; `rebalance` grows one role while it shrinks the other."""

    HOLD = "hold"
    SCALE_OUT = "scale_out"
    SCALE_IN = "scale_in"
    REBALANCE = "rebalance"


def outcome_of(decision: Decision) -> Outcome:
    """Classify a decision by the direction of both roles."""
    if not decision.changes or decision.current is None or decision.target is None:
        return Outcome.HOLD
    pairs = list(decision.target.zip(decision.current))
    grows = any(target > current for target, current in pairs)
    shrinks = any(target < current for target, current in pairs)
    if grows and shrinks:
        return Outcome.REBALANCE
    return Outcome.SCALE_OUT if grows else Outcome.SCALE_IN
