"""Learns by how much the replicas of each role are faster or slower than their profile says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from policies.profile import Profile
from policies.types import PerRole

_BOUND = math.log(2.0)
_PRIOR_VARIANCE = 0.15**2
# What the laws of waiting may themselves be off by, in the mean TTFT that they are compared by.
_MODEL_ERROR = 0.1
_GATE = 7.378  # chi-square, 1 degree of freedom, 99.3%: beyond it an observation is an accident


@dataclass(frozen=True, slots=True)
class Evidence:
    """One comparison of the world with the belief.

    `residual` is log(observed / predicted by the belief), `sensitivity` by how much the logarithm
    of the prediction moves with the belief, `noise_variance` that of the observed logarithm.
    """

    residual: float
    sensitivity: float
    noise_variance: float


@dataclass(frozen=True, slots=True)
class Correction:
    """Belief about log(measured service time / profile's), as a normal distribution.

    The prior deviation of 0.15 says that a profile is mostly right within +-15%.
    """

    mean: float = 0.0
    variance: float = _PRIOR_VARIANCE
    rejected: int = 0

    @property
    def factor(self) -> float:
        """What to multiply the profile's service times with."""
        return math.exp(self.mean)

    @property
    def deviation(self) -> float:
        """Standard deviation of the logarithm: 0.1 is about +-10%."""
        return math.sqrt(self.variance)

    @property
    def sized_factor(self) -> float:
        """What to size with: one standard deviation slower than believed, so doubt costs replicas.

        16% at first. Once the replicas have been watched, the profile is left only for more than
        the laws of waiting may err by: believed at 1.06, they are sized at 1. From twice that on
        the belief counts in full, and in between in proportion (firm shrinkage, Gao and Bruce,
        "WaveShrink with Firm Shrinkage", 1997).
        """
        slower = self.mean + self.deviation
        watched = max(1.0 - self.variance / _PRIOR_VARIANCE, 0.0)
        beyond = 2.0 * (abs(slower) - _MODEL_ERROR * watched)
        kept = math.copysign(min(max(beyond, 0.0), abs(slower)), slower)
        return math.exp(min(kept, _BOUND))

    def updated(self, evidence: Evidence, drift_variance: float) -> Correction:
        """Fold in one measurement (scalar extended Kalman filter on a random walk).

        A residual that the belief makes implausible is rejected, unless several follow each other:
        then the world has changed and the belief opens up again.
        """
        variance = self.variance + drift_variance
        slope, noise = evidence.sensitivity, evidence.noise_variance
        spread = slope * slope * variance + noise
        if evidence.residual**2 > _GATE * spread:
            opened = variance if self.rejected < 3 else variance + evidence.residual**2
            widest = max(_BOUND**2, self.variance)  # evidence that tells little opens it for ever
            return replace(self, variance=min(opened, widest), rejected=self.rejected + 1)
        gain = variance * slope / spread
        mean = min(max(self.mean + gain * evidence.residual, -_BOUND), _BOUND)
        return Correction(mean, (1.0 - gain * slope) * variance)


Calibration = PerRole[Correction]
UNCALIBRATED: Calibration = PerRole(Correction(), Correction())


def slowed(profile: Profile, factor: PerRole[float]) -> Profile:
    """The profile of replicas that take `factor` times as long."""
    if factor == PerRole(1.0, 1.0):
        return profile
    return profile.model_copy(
        update={
            "prefill": profile.prefill.scaled(factor.prefill),
            "decode": profile.decode.scaled(factor.decode),
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
    calibration: Calibration, evidence: PerRole[Evidence | None], elapsed_seconds: float
) -> Calibration:
    """Update each role that has evidence."""
    drift_variance = 1e-6 * elapsed_seconds  # +-6% an hour

    def update(pair: tuple[Correction, Evidence | None]) -> Correction:
        correction, seen = pair
        return correction.updated(seen, drift_variance) if seen else correction

    return calibration.zip(evidence).map(update)
