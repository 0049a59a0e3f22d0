"""What an observation says about the true speed of the replicas of each role."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from policies.backlog import Congestion, diagnose, normal_queue
from policies.calibration import Calibration, Correction, Evidence, slowed
from policies.capacity import Capacity
from policies.config import PolicySettings
from policies.demand import Demand
from policies.profile import Profile
from policies.surge import QueueReading
from policies.types import Observation, PerRole, PoolState

_STEP = 0.05
_BUSIEST = 0.9  # beyond it the mean wait is too steep a function of everything to learn from
_TTFT_NOISE, _FLOW_NOISE, _ITL_NOISE = 0.2**2, 0.15**2, 0.05**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """One tick: what was observed of which pools, under which demand.

    `demand` is what arrives now, in the profile's own replica-seconds. `queue_before` and
    `queue_now` are the last two readings of the queue in front of prefill; None when unknown.
    `calm_seconds` is how long no queue beyond the normal has stood anywhere.
    """

    observation: Observation
    pools: PerRole[PoolState]
    demand: Demand
    profile: Profile
    settings: PolicySettings
    queue_before: QueueReading | None
    queue_now: QueueReading | None
    calm_seconds: float

    def evidence(self, calibration: Calibration) -> PerRole[Evidence | None]:
        """Evidence for each role; None where this tick teaches nothing.

        A role with starting or draining replicas teaches nothing: its warm-up is no steady state.
        """
        steady = self.pools.map(_steady)
        return PerRole(
            self._prefill_evidence(calibration) if steady.prefill else None,
            self._decode_evidence(calibration.decode) if steady.decode else None,
        )

    def _prefill_evidence(self, calibration: Calibration) -> Evidence | None:
        before, now = self.queue_before, self.queue_now
        if not self._rate or now is None or before is None:
            return None
        if self.calm_seconds > self.observation.window_seconds:
            return self._ttft_evidence(calibration)  # no request in the window was held up
        behind = diagnose(self.observation, self.settings).congestion is not Congestion.NONE
        standing = max(normal_queue(self.observation, self.settings), self._ready.prefill)
        if behind or min(now.requests, before.requests) <= standing:
            return None
        return self._flow_evidence(calibration.prefill, before, now)

    def _flow_evidence(
        self, correction: Correction, before: QueueReading, now: QueueReading
    ) -> Evidence | None:
        """While a queue stands, replicas are all busy: what leaves is what they can do.

        Example: 40 arrive per second, the queue grows by 10 per second, 3 replicas are ready: 30
        are served per second, so one takes 0.1 s.
        """
        if now is before:
            return None
        served_per_second = self._rate - now.growth_per_second(before)
        erlangs = self._as_told.prefill.erlangs
        if served_per_second <= 0 or erlangs <= 0:
            return None
        planned_per_second = self._rate / erlangs * self._ready.prefill
        observed = planned_per_second / served_per_second
        return Evidence(math.log(observed) - correction.mean, 1.0, _FLOW_NOISE)

    def _ttft_evidence(self, calibration: Calibration) -> Evidence | None:
        """Compare the mean TTFT with the one predicted for the pools as they are."""
        observed = self.observation.ttft.mean_seconds
        if not observed or not self._ready.decode:  # a first token takes decode as well
            return None
        capacity, ready = self._as_believed(calibration), self._ready.prefill
        waits = capacity.prefill.mean_wait_seconds(ready)
        here = capacity.prefill.without_bursts
        slower = here.slowed(math.exp(_STEP))
        if slower.erlangs > _BUSIEST * ready:
            return None
        in_prefill = here.mean_seconds(ready)
        predicted = in_prefill + capacity.after_prefill_seconds(self._ready)
        if not math.isfinite(predicted):
            return None
        # Of the TTFT, only the time in prefill moves with what is believed of prefill.
        longer = slower.mean_seconds(ready) - in_prefill
        slope = math.log1p(longer / predicted) / _STEP
        # One window's wait is as likely half as twice its mean, and bursts make it now and then.
        noise = _TTFT_NOISE + (waits / predicted) ** 2
        return Evidence(math.log(observed / predicted), slope, noise)

    def _decode_evidence(self, correction: Correction) -> Evidence | None:
        """Compare the ITL with the law at the batch that ITL and token rate imply (Little)."""
        observed, shape = self.observation.itl.mean_seconds, self.demand.shape
        if not observed or not self._rate:
            return None
        stay_seconds = shape.output_tokens_mean * observed
        if self.calm_seconds <= self.observation.window_seconds + stay_seconds:
            return None  # what a backlog released is in the batches, beside what arrives
        batch = self._rate * shape.output_tokens_mean * observed / self._ready.decode
        capacity = self._as_told
        predicted = capacity.iteration_seconds(min(batch, capacity.batch_limit))
        return Evidence(math.log(observed / predicted) - correction.mean, 1.0, _ITL_NOISE)

    @property
    def _rate(self) -> float:
        return self.observation.requests_per_second or 0.0

    @property
    def _ready(self) -> PerRole[int]:
        return self.pools.map(lambda pool: pool.ready_replicas)

    @property
    def _as_told(self) -> Capacity:
        """Replicas as the profile has them."""
        return Capacity(self.profile, self.settings, self.demand)

    def _as_believed(self, belief: Calibration) -> Capacity:
        factor = belief.map(lambda correction: correction.factor)
        demand = replace(self.demand, load=self.demand.load.slowed(factor.prefill))
        return Capacity(slowed(self.profile, factor), self.settings, demand)


def _steady(pool: PoolState) -> bool:
    return not pool.starting_ages_seconds and not pool.draining_replicas and pool.ready_replicas > 0
