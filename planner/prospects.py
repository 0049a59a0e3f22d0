"""What is expected of a pair, and of one replica more or fewer, in words."""

from __future__ import annotations

from planner.quantities import between, pair, seconds, share
from policies.config import Slo
from policies.types import Binding, Expectation, PerRole, Pools, PoolState, Prospect, Role

_BOUND_BY = {
    Binding.TTFT: "bound by TTFT",
    Binding.ITL: "bound by ITL",
    Binding.KV_MEMORY: "bound by KV memory",
    Binding.KV_LINK: "bound by the KV link",
    Binding.MAX_SEQUENCES: "bound by the engine's batch limit",
    Binding.MINIMUM: "at its minimum",
    Binding.RATIO: "bound by the ratio of the roles",
}

_NO_GAIN = 0.0005  # less than a tenth of a point


def sides(prospect: Prospect, slo: Slo, *, scarce: bool) -> str:
    """Say what one fewer on each side would break, or what one more would buy where `scarce`."""
    if scarce or not prospect.sufficient:
        return ", ".join(_gain(prospect, role) for role in Role)
    return ", ".join(_side(prospect, role, slo) for role in Role)


def expected(prospect: Prospect, slo: Slo) -> str:
    """Set what a pair is expected to deliver beside the objectives, as a range where it is one.

    A pair that is kept although it falls short says so: "100% to 96.4% of requests in time (kept,
    as a little less demand would meet 99.0%)".
    """
    now, planned = prospect.now, prospect.planned
    percentile = _percentile(slo)
    slope = slo.ttft_seconds_per_input_token
    ttft_objective = seconds(slo.ttft_seconds) + (
        f" + {slope * 1e6:g} us per prompt token" if slope else ""
    )
    ttft = between(seconds(now.ttft_seconds), seconds(planned.ttft_seconds))
    itl = between(seconds(now.itl_seconds), seconds(planned.itl_seconds))
    met = between(share(now.joint_attainment), share(planned.joint_attainment))
    lead = "" if now == planned else "from the demand of now to that planned for, "
    served = share(planned.carried_fraction)
    short = "" if planned.carried_fraction >= 1.0 else f" (it falls behind, {served} served)"
    if prospect.tolerated:
        short = f" (kept, as a little less demand would meet {share(slo.attainment_fraction)})"
    return (
        f"{lead}TTFT {percentile} is {ttft} (objective {ttft_objective}), "
        f"ITL {percentile} {itl} (objective {seconds(slo.itl_seconds)}), "
        f"{met} of requests in time{short}"
    )


def awaited(pools: Pools, target: PerRole[int]) -> str:
    """Say what is not there yet of a pair; empty where all of it is ready, or a pool is unknown.

    Example: "once all are ready (5 of 10 prefill, 2 of 3 decode are now)". What is expected of the
    pair is not what its users see until then.
    """
    missing = [
        f"{pool.ready_replicas} of {target[role]} {role}"
        for role, pool in pools.items()
        if isinstance(pool, PoolState) and pool.ready_replicas < target[role]
    ]
    return f"once all are ready ({', '.join(missing)} are now)" if missing else ""


def needs(prospect: Prospect, current: PerRole[int] | None = None) -> str:
    """Say which sizes the demand calls for before rounding, and their ratio; empty for none.

    Beside it stands the ratio of the pair, and of the current one where that is another.
    """
    needed, ratio = prospect.needed_replicas, prospect.efficient_ratio
    if ratio is None:
        return ""
    pairs = dict.fromkeys((current or prospect.replicas, prospect.replicas))
    ratios = ", ".join(f"{pair(one)}: {one.prefill / one.decode:.2f}" for one in pairs)
    return (
        f"the demand calls for {needed.prefill:.1f}+{needed.decode:.1f} replicas, "
        f"{ratio:.2f} prefill per decode ({ratios})"
    )


def _side(prospect: Prospect, role: Role, slo: Slo) -> str:
    margin, count = prospect.margins[role], prospect.replicas[role]
    if margin.binding is None:
        return f"{role} could do with {count - 1}"
    bound = f"{role} is {_BOUND_BY[margin.binding]}"
    if margin.binding is Binding.MINIMUM or margin.fewer is None:
        return bound
    return f"{bound} (with {count - 1}: {_loss(margin.fewer, margin.binding, slo)})"


def _loss(fewer: Expectation, binding: Binding, slo: Slo) -> str:
    if fewer.carried_fraction < 1.0:
        return f"it falls behind, {share(fewer.carried_fraction)} of the demand served"
    name, value = ("ITL", fewer.itl_seconds)
    if binding is not Binding.ITL:
        name, value = ("TTFT", fewer.ttft_seconds)
    met = share(fewer.joint_attainment)
    return f"{name} {_percentile(slo)} {seconds(value)}, {met} in time"


def _gain(prospect: Prospect, role: Role) -> str:
    margin, planned = prospect.margins[role], prospect.planned
    one = f"one {role} replica more ({margin.gpus} GPU{'s' if margin.gpus > 1 else ''}) would"
    if planned.carried_fraction < 1.0:  # nothing is in time for long
        before, after = planned.carried_fraction, margin.more.carried_fraction
        what = "the demand served"
    else:
        before, after = planned.joint_attainment, margin.more.joint_attainment
        what = "requests in time"
    if after - before < _NO_GAIN:
        return f"{one} not help"
    return f"{one} raise {what} from {share(before)} to {share(after)}"


def _percentile(slo: Slo) -> str:
    return f"p{slo.attainment_fraction * 100:g}"
