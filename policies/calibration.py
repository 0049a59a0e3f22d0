"""Learns by how much the replicas of each role are faster or slower than their profile says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from policies.demand import Shape, prefill_seconds
from policies.profile import Profile
from policies.types import Observation, PerRole, PoolState

_BOUND = math.log(2.0)
_GATE = 7.378  # chi-square, 1 degree of freedom, 99.3%: beyond it an observation is an accident


@dataclass(frozen=True, slots=True)
class Correction:
    """Belief about log(measured service time / profile's), as a normal distribution.

    The prior deviation of 0.15 says that a profile is mostly right within +-15%.
    """

    mean: float = 0.0
    variance: float = 0.15**2
    rejected: int = 0

    @property
    def factor(self) -> float:
        """What to multiply the profile's service times with."""
        return math.exp(self.mean)

    @property
    def deviation(self) -> float:
        """Standard deviation of the logarithm: 0.1 is about +-10%."""
        return math.sqrt(self.variance)

    def updated(self, ratio: float, noise_variance: float, drift_variance: float) -> Correction:
        """Fold in one measured ratio (scalar extended Kalman filter on a random walk).

        The innovation is ratio/factor - 1, the logarithm to first order: unlike it, it has no bias
        for noisy counts. A ratio that the belief makes implausible is rejected, unless several
        follow each other: then the world has changed and the belief opens up again.
        """
        variance = self.variance + drift_variance
        innovation = ratio / self.factor - 1.0
        if innovation**2 > _GATE * (variance + noise_variance):
            opened = variance if self.rejected < 3 else variance + innovation**2
            return replace(self, variance=opened, rejected=self.rejected + 1)
        gain = variance / (variance + noise_variance)
        mean = min(max(self.mean + gain * innovation, -_BOUND), _BOUND)
        return Correction(mean, (1.0 - gain) * variance)


Calibration = PerRole[Correction]
UNCALIBRATED: Calibration = PerRole(Correction(), Correction())


def corrected(profile: Profile, calibration: Calibration) -> Profile:
    """The profile with both laws' times multiplied by what was learned."""
    prefill, decode = calibration.map(lambda correction: correction.factor)
    return profile.model_copy(
        update={
            "prefill": profile.prefill.scaled(prefill),
            "decode": profile.decode.scaled(decode),
        }
    )


def drift_notes(calibration: Calibration) -> tuple[str, ...]:
    """What an operator should know: roles that are surely 20% or more off their profile."""
    return tuple(
        f"{role} replicas take {correction.factor:.2f} times as long as the profile says"
        for role, correction in calibration.items()
        if abs(correction.mean) > math.log(1.2) + correction.deviation
    )


def learn(
    calibration: Calibration,
    observation: Observation,
    pools: PerRole[PoolState],
    shape: Shape,
    profile: Profile,
    elapsed_seconds: float,
) -> Calibration:
    """Compare what was observed with what the profile predicts for it, role by role.

    A role with starting or draining replicas teaches nothing: its warm-up is no steady state.
    """
    drift_variance = 1e-6 * elapsed_seconds  # +-6% an hour
    measured = PerRole(
        _prefill_ratio(observation, pools.prefill, shape, profile),
        _decode_ratio(observation, pools.decode, shape, profile),
    )

    def update(correction: Correction, sample: tuple[float, float] | None) -> Correction:
        return correction.updated(*sample, drift_variance) if sample else correction

    return PerRole(
        update(calibration.prefill, measured.prefill), update(calibration.decode, measured.decode)
    )


def _steady(pool: PoolState) -> bool:
    return not pool.starting_ages_seconds and not pool.draining_replicas and pool.ready_replicas > 0


def _prefill_ratio(
    observation: Observation, pool: PoolState, shape: Shape, profile: Profile
) -> tuple[float, float] | None:
    """Busy replicas over arrival rate is the service time (utilisation law), while none queue up.

    A count of busy replicas varies like a Poisson count: its relative variance is 1/mean.
    """
    rate, busy = observation.requests_per_second, observation.running_requests.prefill
    if not rate or busy is None or not _steady(pool) or busy >= pool.ready_replicas:
        return None
    predicted = shape.prompt_tokens.average(
        lambda n: prefill_seconds(profile.prefill, n, shape.prefix_hit_fraction)
    )
    return busy / rate / predicted, 1.0 / (rate * predicted)


def _decode_ratio(
    observation: Observation, pool: PoolState, shape: Shape, profile: Profile
) -> tuple[float, float] | None:
    """Observed ITL over the law's, at the batch that ITL and token rate imply (Little's law)."""
    itl, rate = observation.itl.mean_seconds, observation.requests_per_second
    if not itl or not rate or not _steady(pool):
        return None
    law = profile.decode
    batch = rate * shape.output_tokens_mean * itl / pool.ready_replicas
    context = shape.prompt_tokens.mean + shape.output_tokens_mean / 2
    slope = law.seconds_per_sequence + law.seconds_per_context_token * context
    return itl / (law.base_seconds + slope * min(batch, law.max_sequences)), 0.05**2
