"""Every policy that can be compared, by name: one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from replay.baselines import ours, static
from replay.baselines.concurrency_panic import ConcurrencyKnobs, ConcurrencyPanic
from replay.baselines.fixed_ratio import FixedRatio, RatioKnobs
from replay.baselines.hpa import Hpa, HpaKnobs
from replay.baselines.independent_load import IndependentLoad, LoadKnobs
from replay.baselines.independent_throughput import IndependentThroughput, ThroughputKnobs
from replay.baselines.queue_proportional import QueueKnobs, QueueProportional
from replay.baselines.ratio_range import RangeKnobs, RatioRange
from replay.baselines.rule import Knobs, Rule, Ruled
from replay.baselines.token_velocity import TokenVelocity
from replay.bound import clairvoyant
from replay.ceiling import ceiling
from replay.scene import Scene
from replay.simulator import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to scale: what it is, and how to make a fresh one for a run.

    `tick_seconds` is its own pace; None takes the scene's.
    """

    summary: str
    make: Callable[[Scene, Any], Policy]
    knobs: type[Knobs] = Knobs
    tick_seconds: float | None = None


def ruled(
    rule: Callable[[Scene, Any], Rule],
    knobs: type[Knobs],
    summary: str,
    tick_seconds: float | None = None,
) -> Contender:
    """Make a contender of a rule."""
    return Contender(
        summary=summary,
        make=lambda scene, values: Ruled(rule(scene, values), scene.profile, scene.settings),
        knobs=knobs,
        tick_seconds=tick_seconds,
    )


BOUND = "bound"
CEILING = "ceiling"
COUPLED = "coupled"

CONTENDERS: dict[str, Contender] = {
    COUPLED: Contender(summary="our engine, as the service runs it", make=ours.coupled),
    "rate_reactive": Contender(
        summary="our engine on the rate of now: no forecast", make=ours.rate_reactive
    ),
    "independent": Contender(
        summary="our engine with each role solved alone: no coupling", make=ours.independent
    ),
    "separate": Contender(
        summary="as independent, and neither role knows the KV link", make=ours.separate
    ),
    "hpa": ruled(Hpa, HpaKnobs, "Kubernetes HPA per role on exact utilisation", 15.0),
    "queue_proportional": ruled(
        QueueProportional, QueueKnobs, "replicas in proportion to the queue, as KEDA", 15.0
    ),
    "concurrency_panic": ruled(
        ConcurrencyPanic, ConcurrencyKnobs, "concurrency with a panic window, as Knative", 2.0
    ),
    "independent_throughput": ruled(
        IndependentThroughput,
        ThroughputKnobs,
        "two loops at utilisation 1, as Dynamo's throughput scaling",
        180.0,
    ),
    "independent_load": ruled(
        IndependentLoad, LoadKnobs, "two loops by one replica, as Dynamo's load scaling", 5.0
    ),
    "fixed_ratio": ruled(
        FixedRatio, RatioKnobs, "decode throughput at a fixed ratio, as HeteroScale"
    ),
    "token_velocity": ruled(TokenVelocity, Knobs, "token rate over velocity, as TokenScale"),
    "ratio_range": ruled(
        RatioRange, RangeKnobs, "two autoscalers within a range of ratios, as kthena", 15.0
    ),
    "static": Contender(summary="fixed at our model's pair for the peak", make=static.static),
    "static_peak": Contender(
        summary="fixed at the cheapest pair that attains, found by search",
        make=static.static_peak,
    ),
    CEILING: Contender(
        summary="the true demand of now and plenty of replicas: what start-up time allows",
        make=lambda scene, _: ceiling(scene),
    ),
    BOUND: Contender(
        summary="cheapest schedule found with the future known",
        make=lambda scene, _: clairvoyant(scene),
    ),
}
