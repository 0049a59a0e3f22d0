"""Kubernetes scaling behaviour: stabilisation windows and rate policies of an HPA (autoscaling/v2).

Source: the documented semantics and defaults of `spec.behavior`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat

from policies.config import Section


class Behaviour(Section):
    """The defaults of `spec.behavior`: out at once by 4 pods or 100% in 15 s, in after 300 s."""

    tolerance_fraction: NonNegativeFloat = 0.1
    scale_out_window_seconds: NonNegativeFloat = 0.0
    scale_in_window_seconds: NonNegativeFloat = 300.0
    period_seconds: PositiveFloat = 15.0
    scale_out_pods: NonNegativeInt = 4
    scale_out_fraction: NonNegativeFloat = 1.0
    scale_in_fraction: NonNegativeFloat = 1.0


@dataclass
class Behaved:
    """One workload's history, which its behaviour looks back at."""

    behaviour: Behaviour
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def apply(self, current: int, wanted: int, now_seconds: float) -> int:
        """Stabilise a recommendation, then limit its rate.

        Recommendations are remembered before stabilisation. The first one is the current size, so
        that a restart does not scale in.
        """
        if not self._recommended:
            self._recommended.append((now_seconds, current))
        self._recommended.append((now_seconds, wanted))
        size = self._limited(current, self._stabilised(current, now_seconds), now_seconds)
        if size != current:
            self._changes.append((now_seconds, size - current))
        return size

    def _stabilised(self, current: int, now_seconds: float) -> int:
        """Out to the least, in to the most that was recommended within its window."""
        rules = self.behaviour
        longest = max(rules.scale_out_window_seconds, rules.scale_in_window_seconds)
        newest = self._recommended[-1]
        self._recommended = [
            *(past for past in self._recommended[:-1] if past[0] > now_seconds - longest),
            newest,
        ]

        def within(window_seconds: float) -> list[int]:
            past = (
                size for at, size in self._recommended[:-1] if at > now_seconds - window_seconds
            )
            return [*past, newest[1]]

        least = min(within(rules.scale_out_window_seconds))
        most = max(within(rules.scale_in_window_seconds))
        return min(max(current, least), most)

    def _limited(self, current: int, wanted: int, now_seconds: float) -> int:
        """Change by no more than the policies allow from the size at the start of the period."""
        rules = self.behaviour
        self._changes = [c for c in self._changes if c[0] > now_seconds - rules.period_seconds]
        start = current - sum(change for _, change in self._changes)
        if wanted > current:
            grown = math.ceil(start * (1 + rules.scale_out_fraction))
            return min(wanted, max(current, start + rules.scale_out_pods, grown))
        least = math.ceil(start * (1 - rules.scale_in_fraction))
        return max(wanted, min(current, least))


def within_tolerance(ratio: float, behaviour: Behaviour) -> bool:
    """Whether usage over target is so near 1 that nothing is done."""
    tolerance = behaviour.tolerance_fraction
    return 1.0 - tolerance <= ratio <= 1.0 + tolerance


def recommend_for_ratio(ready: int, current: int, ratio: float, behaviour: Behaviour) -> int:
    """Replicas for `ratio`, the usage of ready pods over the target.

    Pods that are not ready count as idle on the way out and are left out on the way in; when they
    turn the direction round, nothing is done. Example: 2 of 4 ready at twice the target: the
    average over 4 is the target, so nothing is added.
    """
    if ready == 0 or within_tolerance(ratio, behaviour):
        return current
    if ratio < 1.0 or ready >= current:
        return math.ceil(ratio * ready - 1e-9)
    ratio *= ready / current
    if ratio <= 1.0 or within_tolerance(ratio, behaviour):
        return current
    return math.ceil(ratio * current - 1e-9)
