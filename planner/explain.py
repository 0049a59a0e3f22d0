"""One sentence for a decision: the same in the API, on the page, in the terminal and in the log."""

from __future__ import annotations

from planner.prospects import awaited, expected, needs, sides
from planner.quantities import pair
from policies.config import Slo
from policies.router import RouterDecision
from policies.types import Binding, Decision, HoldReason, PerRole, Pools, Prospect

_BINDS = {
    Binding.TTFT: "TTFT binds",
    Binding.ITL: "ITL binds",
    Binding.KV_MEMORY: "KV memory binds",
    Binding.KV_LINK: "the KV link binds",
    Binding.MAX_SEQUENCES: "the batch limit binds",
    Binding.MINIMUM: "at the minimum",
    Binding.MAXIMUM: "at the maximum",
    Binding.RATIO: "the ratio binds",
    Binding.BUDGET: "the GPU budget binds",
    Binding.INFEASIBLE_SLO: "the SLO is out of reach",
}

# What binds a pair and not one of its sides.
_SCARCE = frozenset({Binding.MAXIMUM, Binding.BUDGET})
_OF_THE_PAIR = _SCARCE | {Binding.INFEASIBLE_SLO}

_HOLDS = {
    HoldReason.ALREADY_RIGHT: "already right",
    HoldReason.METRICS_UNKNOWN: "the metrics are unknown",
    HoldReason.METRICS_STALE: "the metrics are stale",
    HoldReason.METRICS_PARTIAL: "the metrics are partial",
    HoldReason.POOL_UNKNOWN: "a pool cannot be read",
    HoldReason.ROLLOUT_IN_PROGRESS: "a rollout is in progress",
    HoldReason.SCALE_IN_STABILISING: "scale-in waits",
    HoldReason.SCALE_OUT_LIMIT: "scale-out is limited",
    HoldReason.NOT_WORTH_A_START: "a change would not pay for its start-up",
    HoldReason.SCALED_TO_ZERO: "scaled to zero",
    HoldReason.OTHER_WRITER: "somebody else sets the replicas",
    HoldReason.REPLICAS_STUCK: "replicas are stuck",
    HoldReason.BUDGET: "the GPU budget is used up",
    HoldReason.BOUNDS: "at a bound",
    HoldReason.RATIO: "the ratio of the roles is kept",
    HoldReason.FLOOR: "at the workload's own floor",
    HoldReason.DECISION_FAILED: "the decision failed",
}


def explain(decision: Decision, slo: Slo, pools: Pools | None = None) -> str:
    """Say what is decided, why, and what is expected of it, in one sentence of plain ASCII.

    With the `pools` that were found it says what of the target is not ready yet.

    Example: "scale prefill 3->5, decode stays at 4: prefill is bound by TTFT (with 4: TTFT p99
    3.2 s, 91.2% in time), decode is bound by KV memory (with 3: TTFT p99 2.6 s, 97.1% in time);
    nothing limits it; once all are ready (3 of 5 prefill are now), from the demand of now to that
    planned for, TTFT p99 is 900 ms to 1.42 s (objective 2 s), ITL p99 28 ms to 31 ms (objective
    50 ms), 99.96% to 99.5% of requests in time; the demand calls for 4.1+3.6 replicas, 1.14 prefill
    per decode (3+4: 0.75, 5+4: 1.25)". In time are the requests that meet both objectives.
    """
    reasons, prospect = why(decision, slo), decision.prospect
    said = f"{action(decision)}: {reasons}" if reasons else action(decision)
    if prospect is None:
        return said
    then = awaited(pools, prospect.replicas) if pools else ""
    foreseen = "; ".join(expectations(prospect, slo, decision.current))
    return f"{said}; {then}, {foreseen}" if then else f"{said}; {foreseen}"


def explain_router(decision: RouterDecision) -> str:
    """Say what is decided of the front end and why.

    Examples: "scale router 2->3: sized for 410 requests/s"; "hold router 3: scale-in waits: more
    was wanted within the last 300 s; sized for 210 requests/s".
    """
    rate = decision.requests_per_second
    parts = [] if rate is None else [f"sized for {rate:.3g} requests/s"]
    if decision.hold is None:
        parts += [limiter.why for limiter in decision.limiters]
        return f"scale router {decision.current}->{decision.target}: {'; '.join(parts)}"
    size = "unknown size" if decision.current is None else str(decision.current)
    reason = decision.hold.reason
    if reason is not HoldReason.ALREADY_RIGHT:
        parts.insert(0, f"{_HOLDS[reason]}: {decision.hold.detail}")
    return f"hold router {size}: {'; '.join(parts)}"


def why(decision: Decision, slo: Slo) -> str:
    """Give only the reasons, in this order.

    What holds; the chain of limits, from the solved pair to the target; what binds, with what one
    replica fewer would break or one more would buy; and what else is amiss.
    """
    prospect, limits = decision.prospect, _limits(decision)
    parts = [_held(decision), limits]
    if prospect is not None:
        parts += reasons(() if limits else decision.binding, prospect, slo)
        free = not limits and _OF_THE_PAIR.isdisjoint(decision.binding)
        parts += ["nothing limits it"] if free else []
    elif not limits:
        parts.append(binds(decision.binding))
    told = "; ".join(dict.fromkeys(part for part in (*parts, *decision.notes) if part))
    return told or (_HOLDS[HoldReason.ALREADY_RIGHT] if decision.hold else "")


def reasons(binding: tuple[Binding, ...], prospect: Prospect, slo: Slo) -> list[str]:
    """Say what binds a pair, and what its sides are there for.

    What binds one side is told with what one replica fewer would break there.
    """
    of_the_pair = binds(tuple(one for one in binding if one in _OF_THE_PAIR))
    each = sides(prospect, slo, scarce=not _SCARCE.isdisjoint(binding))
    return [part for part in (of_the_pair, each) if part]


def expectations(prospect: Prospect, slo: Slo, current: PerRole[int] | None = None) -> list[str]:
    """Say what a pair is expected to do, and beside it which sizes the demand calls for."""
    return [part for part in (expected(prospect, slo), needs(prospect, current)) if part]


def action(decision: Decision) -> str:
    """Say only what is decided: "scale prefill 3->5, decode stays at 4", or "hold 3+4"."""
    if decision.hold is not None:
        return f"hold {pair(decision.current)}"
    if decision.current is None or decision.target is None:
        return "no size decided"
    moves = list(decision.current.zip(decision.target).items())
    changed = [f"{role} {before}->{after}" for role, (before, after) in moves if before != after]
    kept = [f"{role} stays at {before}" for role, (before, after) in moves if before == after]
    return "scale " + ", ".join(changed + kept)


def binds(binding: tuple[Binding, ...]) -> str:
    """Say which constraints keep a pair from being smaller; empty when none is known."""
    return ", ".join(_BINDS[constraint] for constraint in binding)


def _held(decision: Decision) -> str:
    hold = decision.hold
    if hold is None or hold.reason is HoldReason.ALREADY_RIGHT:
        return ""
    reason = _HOLDS[hold.reason]
    # A limiter's own words come in the next part of the sentence; twice would be noise.
    told = any(limiter.why == hold.detail for limiter in decision.limiters)
    return reason if told or not hold.detail else f"{reason}: {hold.detail}"


def _limits(decision: Decision) -> str:
    """The chain from the solved pair to the target: which limit made which pair of it, and why."""
    if not decision.limiters:
        return ""
    if decision.raw is None:  # nobody's wish: nothing was solved
        return "; ".join(limiter.why for limiter in decision.limiters)
    because = f" ({binds(decision.binding)})" if decision.binding else ""
    chain = ", then ".join(f"{pair(one.after)}: {one.why}" for one in decision.limiters)
    return f"{pair(decision.raw)} is wanted{because}, but {chain}"
