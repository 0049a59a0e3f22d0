"""Prefill pools of any size under one demand: how long prompts wait and are worked on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.demand import Demand
from policies.profile import PrefillLaw
from policies.queueing import Wait, wait_of_pool


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillStage:
    """What arrives in front of prefill, and how long a replica takes for it.

    A prompt alone takes `service_seconds` on average. Where prompts fill iterations,
    `prompts_per_iteration` of them in `full_iteration_seconds`, its mean share of one is
    `batched_seconds`. `pooled` replicas share one queue; others each have their own.
    """

    requests_per_second: float
    arrival_dispersion: float
    service_seconds: float
    service_cv2: float
    batched_seconds: float
    prompts_per_iteration: float
    full_iteration_seconds: float
    pooled: bool

    @classmethod
    def of(cls, law: PrefillLaw, demand: Demand, *, pooled: bool) -> PrefillStage:
        """Read the laws of a replica for the prompts of a demand.

        Three prompts of 2,730 tokens fit an iteration of 8,192.
        """
        shape = demand.shape
        new_tokens = max(shape.prompt_tokens.mean * (1.0 - shape.prefix_hit_fraction), 1.0)
        prompts = max(law.token_budget / new_tokens, 1.0)
        service, square = shape.prefill_seconds_mean(law), shape.prefill_seconds_square(law)
        budget = law.token_budget
        pairs = budget * min(new_tokens, budget)
        full = law.base_seconds + law.seconds_per_token * budget
        return cls(
            requests_per_second=demand.load.prefill_erlangs / service if service > 0 else 0.0,
            arrival_dispersion=demand.arrival_dispersion,
            service_seconds=service,
            service_cv2=max(square / service**2 - 1.0, 0.0) if service > 0 else 0.0,
            batched_seconds=service - (1.0 - 1.0 / prompts) * law.base_seconds,
            prompts_per_iteration=prompts,
            full_iteration_seconds=full + law.seconds_per_squared_token * pairs,
            pooled=pooled,
        )

    def slowed(self, factor: float) -> PrefillStage:
        """The same arrivals where replicas take `factor` times as long."""
        return replace(
            self,
            service_seconds=self.service_seconds * factor,
            batched_seconds=self.batched_seconds * factor,
            full_iteration_seconds=self.full_iteration_seconds * factor,
        )

    @property
    def erlangs(self) -> float:
        """Least replicas that can keep up, iterations being full."""
        return self.requests_per_second * self.batched_seconds

    def wait(self, replicas: int) -> Wait:
        """Wait in front of a prefill pool; round robin splits it into queues of one server.

        A prompt that finds all replicas busy is done at the end of an iteration that others share,
        as many as usually wait (1/(1 - utilisation)), at most a full one; its own time in that is
        no wait. Checked against the plant in tests/replay/test_prediction.py.
        """
        queues, erlangs = 1 if self.pooled else replicas, self.erlangs
        wait = wait_of_pool(
            replicas // queues,
            erlangs / queues,
            self.batched_seconds,
            self.arrival_dispersion / queues,  # of every n-th arrival alone
            self.service_cv2,
        )
        idle = max(1.0 - erlangs / replicas, 1e-9)
        filled = min(1.0 / (idle * self.prompts_per_iteration), 1.0)
        others_seconds = filled * self.full_iteration_seconds - self.service_seconds
        return Wait(wait.probability, wait.rate_per_second, max(others_seconds, 0.0))

    def mean_seconds(self, replicas: int) -> float:
        """Mean time that a prompt waits and is worked on in a pool."""
        return self.wait(replicas).mean_seconds + self.service_seconds
