"""Prefill pools of any size under one demand: how long prompts wait and are worked on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from policies.demand import Demand
from policies.profile import PrefillLaw
from policies.queueing import Wait, erlang_c, wait_of_pool

_ROUNDS = 4  # until the number of prompts that share an iteration stands


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillStage:
    """What arrives in front of prefill, and how long a replica takes for it.

    A prompt alone takes `service_seconds` on average, `base_seconds` of them for the iteration.
    Where prompts fill iterations, `prompts_per_iteration` of them in `full_iteration_seconds`, its
    mean share of one is `batched_seconds`. `pooled` replicas share one queue; others each have
    their own.
    """

    requests_per_second: float
    arrival_dispersion: float
    service_seconds: float
    base_seconds: float
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
            base_seconds=law.base_seconds,
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
            base_seconds=self.base_seconds * factor,
            batched_seconds=self.batched_seconds * factor,
            full_iteration_seconds=self.full_iteration_seconds * factor,
        )

    @property
    def without_bursts(self) -> PrefillStage:
        """The same where arrivals are Poisson, as they are between bursts."""
        return replace(self, arrival_dispersion=min(self.arrival_dispersion, 1.0))

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

    def mean_wait_seconds(self, replicas: int) -> float:
        """Mean time from a prompt's arrival to its end, beyond its own service alone.

        `wait` is for the tail, where iterations are full; in the mean few prompts share one. Who
        finds all servers of a queue busy waits for the first of their iterations to end, T/(c + 1)
        of c, and then for the work of the others that came meanwhile, rate * work * T of each
        server. T is that of an iteration that an arrival falls into: longer ones more often.
        Checked against the plant in tests/replay/test_prediction.py.
        """
        servers, queues = (replicas, 1) if self.pooled else (1, replicas)
        rate, work = self.requests_per_second / replicas, self.service_seconds - self.base_seconds
        prompts = self._prompts_together(rate, work)
        iteration_seconds = self.base_seconds + prompts * work
        busy = servers * min(rate * iteration_seconds / prompts, 1.0 - 1e-9)
        # Prompts per iteration vary as Poisson does, and more after a long one.
        spread = work * work * (prompts - 1.0 + prompts * self.service_cv2) / iteration_seconds**2
        spread /= max(1.0 - (rate * work / servers) ** 2, 1e-9)
        seen_seconds = iteration_seconds * (1.0 + spread)
        variability = (self.arrival_dispersion / queues + 1.0) / 2.0
        waits_seconds = seen_seconds * (1.0 / (servers + 1) + rate * work)
        return erlang_c(servers, busy) * waits_seconds * variability

    def _prompts_together(self, rate: float, work_seconds: float) -> float:
        """Mean prompts in one iteration of a replica that takes all that came during the last.

        One lasts T = base + k * work, and brings rate * T prompts, or else waits for the next one:
        E[k] = (rate * base + P(none came)) / (1 - rate * work).
        """
        prompts = 1.0
        for _ in range(_ROUNDS):
            none_came = math.exp(-rate * (self.base_seconds + prompts * work_seconds))
            idle = max(1.0 - rate * work_seconds, 1e-9)
            together = (rate * self.base_seconds + none_came) / idle
            prompts = min(max(together, 1.0), self.prompts_per_iteration)
        return prompts

    def mean_seconds(self, replicas: int) -> float:
        """Mean time that a prompt waits and is worked on in a pool."""
        return self.mean_wait_seconds(replicas) + self.service_seconds
