"""One sentence for a decision: the same in the API, on the page, in the terminal and in events."""

from __future__ import annotations

import math

from policies.config import Slo
from policies.router import RouterDecision
from policies.types import Binding, Decision, Expectation, HoldReason, PerRole

_BINDS = {
    Binding.TTFT: "TTFT binds",
    Binding.ITL: "ITL binds",
    Binding.KV_MEMORY: "KV memory binds",
    Binding.KV_LINK: "the KV link binds",
    Binding.MAX_SEQUENCES: "the batch limit binds",
    Binding.MINIMUM: "at the minimum",
    Binding.MAXIMUM: "at the maximum",
    Binding.BUDGET: "the GPU budget binds",
    Binding.INFEASIBLE_SLO: "the SLO is out of reach",
}

_HOLDS = {
    HoldReason.METRICS_UNKNOWN: "the metrics are unknown",
    HoldReason.METRICS_STALE: "the metrics are stale",
    HoldReason.METRICS_PARTIAL: "the metrics are partial",
    HoldReason.POOL_UNKNOWN: "a pool cannot be read",
    HoldReason.ROLLOUT_IN_PROGRESS: "a rollout is in progress",
    HoldReason.SCALE_IN_STABILISING: "scale-in waits",
    HoldReason.SCALE_OUT_LIMIT: "scale-out is limited",
    HoldReason.SCALED_TO_ZERO: "scaled to zero",
    HoldReason.OTHER_WRITER: "somebody else sets the replicas",
    HoldReason.REPLICAS_STUCK: "replicas are stuck",
    HoldReason.BUDGET: "the GPU budget is used up",
    HoldReason.BOUNDS: "at a bound",
    HoldReason.FLOOR: "at the workload's own floor",
}


def explain(decision: Decision, slo: Slo) -> str:
    """Say what is decided and why, in one sentence of plain ASCII.

    Examples: "scale prefill 3->5, decode stays at 4: TTFT binds, ITL binds; expected TTFT 1.42 s of
    2 s, ITL 31 ms of 50 ms"; "hold 3+4: scale-in waits; 2+4 is wanted (TTFT 1.7 s of 2 s, ITL 31 ms
    of 50 ms), but more was wanted within the last 300 s".
    """
    reasons = why(decision, slo)
    return f"{_action(decision)}: {reasons}" if reasons else _action(decision)


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
        words = _HOLDS.get(reason, reason.replace("_", " "))
        parts.insert(0, f"{words}: {decision.hold.detail}")
    return f"hold router {size}: {'; '.join(parts)}"


def why(decision: Decision, slo: Slo) -> str:
    """Give only the reasons: what holds or binds, what is expected, what limits, what is amiss."""
    parts = [_why_held(decision) if decision.hold else binds(decision.binding)]
    promise = expectation(decision.expected, slo) if decision.expected else ""
    if decision.limiters:  # what is expected belongs to the pair that was solved for
        wanted, limit = decision.limiters[0].before, decision.limiters[-1].why
        asked = f"{pair(wanted)} is wanted" + (f" ({promise})" if promise else "")
        parts.append(limit if wanted == decision.current else f"{asked}, but {limit}")
    elif promise:
        parts.append(f"expected {promise}")
    return "; ".join(dict.fromkeys(part for part in (*parts, *decision.notes) if part))


def brief(decision: Decision) -> str:
    """Leave out the reasons, where they stand one line above: "hold 3+4: TTFT 90 ms, ITL 8 ms"."""
    action, expected = _action(decision), decision.expected
    if expected is None or decision.limiters:
        return action
    ttft, itl = seconds(expected.ttft_seconds), seconds(expected.itl_seconds)
    return f"{action}: TTFT {ttft}, ITL {itl}"


def binds(binding: tuple[Binding, ...]) -> str:
    """Say which constraints keep a pair from being smaller; empty when none is known."""
    return ", ".join(_BINDS[constraint] for constraint in binding)


def pair(replicas: PerRole[int] | None) -> str:
    """Write a pair of replica counts as prefill+decode: "3+4"."""
    return "unknown size" if replicas is None else f"{replicas.prefill}+{replicas.decode}"


def expectation(expected: Expectation, slo: Slo) -> str:
    """Set both expected latencies beside their objectives."""
    slope = slo.ttft_seconds_per_input_token
    ttft = seconds(slo.ttft_seconds) + (f" + {slope * 1e6:g} us per prompt token" if slope else "")
    return (
        f"TTFT {seconds(expected.ttft_seconds)} of {ttft}, "
        f"ITL {seconds(expected.itl_seconds)} of {seconds(slo.itl_seconds)}"
    )


def seconds(value: float) -> str:
    """Write a duration in the unit that people read it in: "31 ms", "1.42 s"."""
    if not math.isfinite(value):
        return "unbounded"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"


def _action(decision: Decision) -> str:
    if decision.hold is not None:
        return f"hold {pair(decision.current)}"
    if decision.current is None or decision.target is None:
        return "no size decided"
    moves = list(decision.current.zip(decision.target).items())
    changed = [f"{role} {before}->{after}" for role, (before, after) in moves if before != after]
    kept = [f"{role} stays at {before}" for role, (before, after) in moves if before == after]
    return "scale " + ", ".join(changed + kept)


def _why_held(decision: Decision) -> str:
    hold = decision.hold
    if hold is None or hold.reason is HoldReason.ALREADY_RIGHT:
        return binds(decision.binding) or "already right"
    reason = _HOLDS.get(hold.reason, hold.reason.replace("_", " "))
    # A limiter's own words come at the end of the sentence; twice would be noise.
    told = any(limiter.why == hold.detail for limiter in decision.limiters)
    return reason if told or not hold.detail else f"{reason}: {hold.detail}"
