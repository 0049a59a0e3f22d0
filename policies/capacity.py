"""What a pair of pools delivers under a demand: predicted TTFT, ITL and attainment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.config import PolicySettings
from policies.demand import DISPERSION_BIN_SECONDS, Demand, prefill_seconds
from policies.lengths import Lengths
from policies.profile import Profile, Tokens
from policies.queueing import ENDLESS_WAIT, NO_WAIT, Floats, Wait, batch_at_most, wait_of_pool
from policies.types import Expectation, PerRole


@dataclass(frozen=True, slots=True)
class BatchLaw:
    """How many sequences a decode pool of `pool` replicas holds; see `batch_at_most`.

    Requests come in clumps, which widens the law as many times. `base_sequences` take as long as
    an iteration without any.
    """

    pool: int
    clump: float
    base_sequences: float
    utilisation: float

    def at_most(self, batch: float, wider: float = 0.0) -> float:
        """P(each replica's batch <= `batch`) as an arriving request finds it, itself counted.

        With clumps of that much more where what is counted varies by itself.
        """
        clump = self.clump + wider
        shape = 1.0 + self.pool * self.base_sequences / clump
        return batch_at_most((self.pool * batch - 1.0) / clump, shape, self.utilisation)


@dataclass(frozen=True, slots=True)
class DecodeState:
    """A decode pool of some size under the demand."""

    itl_attainment: float
    itl_mean_seconds: float
    admission_wait: Wait


@dataclass(frozen=True)
class Capacity:
    """Predictions for pools of any size under one demand.

    TTFT of a prompt of n tokens = wait for prefill + T(n) + KV transfer(n) + wait for decode space
    + one iteration. Attainment is the share of prompts, over the length distribution, for which
    that stays within the objective; ITL attainment is the probability that the decode batch is
    small enough.
    """

    profile: Profile
    settings: PolicySettings
    demand: Demand

    @property
    def _prompts(self) -> Lengths:
        return self.demand.shape.prompt_tokens

    @cached_property
    def _service_seconds(self) -> Floats:
        """Prefill time of each point of the prompt length distribution."""
        hit = self.demand.shape.prefix_hit_fraction
        return prefill_seconds(self.profile.prefill, self._prompts.points, hit)

    @cached_property
    def ttft_objective_seconds(self) -> Floats:
        """Time to first token allowed for each point of the prompt length distribution."""
        return self.settings.slo.ttft_objective_seconds(self._prompts.points)

    @cached_property
    def service_seconds_mean(self) -> float:
        """Mean prefill time of one prompt."""
        return float(self._prompts.shares @ self._service_seconds)

    @property
    def unqueued_seconds_max(self) -> float:
        """TTFT of the longest prompt in a full iteration that it does not wait for."""
        longest = float(self._service_seconds.max())
        transfer = self.transfer_seconds(max(self._prompts.tokens), 0.0)
        return longest + self._full_iteration_seconds + transfer + self.iteration_seconds(1.0)

    @cached_property
    def _service_cv2(self) -> float:
        mean, square = self.service_seconds_mean, self._prompts.shares @ self._service_seconds**2
        return float(square) / mean**2 - 1 if mean > 0 else 0.0

    @cached_property
    def requests_per_second(self) -> float:
        """Request rate that the planned prefill load stands for."""
        mean = self.service_seconds_mean
        return self.demand.load.prefill_erlangs / mean if mean > 0 else 0.0

    @cached_property
    def _prompts_per_iteration(self) -> float:
        """Prompts that fill an iteration: three of 2,730 tokens fit 8,192."""
        return max(self.profile.prefill.token_budget / max(self._new_tokens_mean, 1.0), 1.0)

    @cached_property
    def _batched_service_seconds(self) -> float:
        """Mean share of an iteration that a prompt takes where prompts fill it."""
        shared = 1.0 - 1.0 / self._prompts_per_iteration
        return self.service_seconds_mean - shared * self.profile.prefill.base_seconds

    @property
    def _prompt_tokens_mean(self) -> float:
        return self._prompts.mean

    @property
    def _new_tokens_mean(self) -> float:
        return self._prompt_tokens_mean * (1.0 - self.demand.shape.prefix_hit_fraction)

    @cached_property
    def prefill_erlangs(self) -> float:
        """Least replicas that can keep up, iterations being full."""
        return self.requests_per_second * self._batched_service_seconds

    def prefill_wait(self, replicas: int) -> Wait:
        """Wait in front of a prefill pool; round robin splits it into queues of one server.

        A prompt that finds all replicas busy is done at the end of an iteration that others share,
        as many as usually wait (1/(1 - utilisation)), at most a full one; its own time in that is
        no wait. Checked against the plant in tests/replay/test_prediction.py.
        """
        pooled = self.settings.routing == "least_loaded"
        queues = 1 if pooled else replicas
        wait = wait_of_pool(
            replicas // queues,
            self.prefill_erlangs / queues,
            self._batched_service_seconds,
            self.demand.arrival_dispersion / queues,  # of every n-th arrival alone
            self._service_cv2,
        )
        idle = max(1.0 - self.prefill_erlangs / replicas, 1e-9)
        filled = min(1.0 / (idle * self._prompts_per_iteration), 1.0)
        others_seconds = filled * self._full_iteration_seconds - self.service_seconds_mean
        return Wait(wait.probability, wait.rate_per_second, max(others_seconds, 0.0))

    @cached_property
    def _full_iteration_seconds(self) -> float:
        law = self.profile.prefill
        tokens = law.token_budget
        context = max(self._new_tokens_mean, 1.0)
        return (
            law.base_seconds
            + law.seconds_per_token * tokens
            + law.seconds_per_squared_token * tokens * min(context, tokens)
        )

    def link_utilisation(self, replicas: PerRole[int]) -> float:
        """Utilisation of the busier side: prefill's egress or decode's ingress."""
        return self._links / self._links_of(replicas)

    def _links_of(self, replicas: PerRole[int]) -> float:
        """What passes the narrower side of a pair, as a number of egress links."""
        return min(replicas.prefill, replicas.decode * self._ingress_share)

    @cached_property
    def _ingress_share(self) -> float:
        return self.profile.transfer.ingress_share

    @cached_property
    def _links(self) -> float:
        """Prefill replicas whose links together just carry the hand-offs."""
        law = self.profile.transfer
        transfers_per_second = self.requests_per_second + self.demand.extra_transfers_per_second
        bytes_per_second = transfers_per_second * self._prompt_tokens_mean * law.bytes_per_token
        return bytes_per_second / law.bytes_per_second

    def transfer_seconds(self, prompt_tokens: Tokens, link_utilisation: float) -> Tokens:
        """KV hand-off time on a link shared by processor sharing (mean slowdown 1/(1-rho))."""
        law = self.profile.transfer
        alone = law.exposed_fraction * prompt_tokens * law.bytes_per_token / law.bytes_per_second
        alone = alone / min(self._ingress_share, 1.0)
        return law.base_seconds + alone / max(1.0 - link_utilisation, 1e-9)

    def link_wait(self, replicas: PerRole[int]) -> Wait:
        """Wait of a burst in front of the link; of Poisson arrivals, sharing is wait enough.

        A burst queues where the narrowest stage is. Example: 2,000 prompts of 2,000 tokens at
        once, 64 KiB of KV each token: 12 prefill replicas of the 8B profile pass them on in 6 s,
        one decode replica's 40 GB/s link takes 6.5 s.
        """
        clumps = self.demand.arrival_dispersion - 1.0
        if clumps <= 0.0:
            return NO_WAIT
        law, links = self.profile.transfer, self._links_of(replicas)
        alone = self._prompt_tokens_mean * law.bytes_per_token / law.bytes_per_second
        return wait_of_pool(1, self.link_utilisation(replicas), alone / links, clumps, 0.0)

    @cached_property
    def _slope_seconds(self) -> float:
        """Seconds that one more sequence of mean context adds to an iteration."""
        law = self.profile.decode
        slope = law.seconds_per_sequence
        slope += law.seconds_per_context_token * self.demand.context_tokens_mean
        return max(slope, 1e-12)  # a flat law has no batch effect; keep the closed form defined

    @cached_property
    def batch_limit(self) -> float:
        """Sequences that one replica may hold: KV memory less headroom, or the engine's cap."""
        return min(self._batch_in_memory, self.profile.decode.max_sequences)

    @cached_property
    def _batch_in_memory(self) -> float:
        law, held = self.profile.decode, self.demand.context_tokens_mean
        room = law.kv_capacity_tokens * (1.0 - self.settings.kv_headroom_fraction)
        return room / max(held * self.demand.kv_held_factor, 1.0)

    @cached_property
    def batch_limit_is_memory(self) -> bool:
        """Whether KV memory, not the engine's cap, sets `batch_limit`."""
        return self._batch_in_memory < self.profile.decode.max_sequences

    def iteration_seconds(self, batch: float) -> float:
        """One decode iteration with `batch` sequences on a replica."""
        return self.profile.decode.base_seconds + self._slope_seconds * batch

    def decode_utilisation(self, replicas: int) -> float:
        """Share of a replica's ultimate token rate (an unbounded batch) that is asked for."""
        return self._slope_seconds * self.demand.load.decode_tokens_per_second / replicas

    def decode(self, replicas: int) -> DecodeState:
        """State of a decode pool; see `batch_at_most` for the law of its batch."""
        utilisation = self.decode_utilisation(replicas)
        if utilisation >= 1.0:
            return DecodeState(0.0, math.inf, ENDLESS_WAIT)
        law = self._batch_law(replicas)
        return DecodeState(
            itl_attainment=law.at_most(self._batch_within_slo),
            itl_mean_seconds=self._itl_mean_seconds(replicas),
            admission_wait=self._admission_wait(replicas, self._found_full(law)),
        )

    @cached_property
    def _batch_within_slo(self) -> float:
        """Sequences on a replica at which an iteration takes as long as the ITL objective."""
        room_seconds = self.settings.slo.itl_seconds - self.profile.decode.base_seconds
        return room_seconds / self._slope_seconds

    def _found_full(self, law: BatchLaw) -> float:
        """P(an arriving request finds no place in a batch, or no room in KV memory).

        Memory in use varies with the number of sequences and with what each of them holds.
        """
        crowded = 1.0 - law.at_most(self.profile.decode.max_sequences)
        spread = self.demand.shape.context_cv2 * (1.0 - law.utilisation)
        return max(crowded, 1.0 - law.at_most(self._batch_in_memory, wider=spread))

    def _pool(self, replicas: int) -> int:
        """Replicas that share one queue."""
        return replicas if self.settings.routing == "least_loaded" else 1

    def _itl_mean_seconds(self, replicas: int) -> float:
        alone = self.iteration_seconds(1.0 / self._pool(replicas))
        return alone / (1.0 - self.decode_utilisation(replicas))

    def _batch_law(self, replicas: int) -> BatchLaw:
        return BatchLaw(
            pool=self._pool(replicas),
            clump=self._clump(self._itl_mean_seconds(replicas)),
            base_sequences=self.profile.decode.base_seconds / self._slope_seconds,
            utilisation=self.decode_utilisation(replicas),
        )

    def _clump(self, itl_seconds: float) -> float:
        """Requests that arrive together, as far as a decode batch can tell: 1 for Poisson.

        Arrivals of dispersion D behave like clumps of D, which widens the batch's law as many
        times. Dispersion is measured in bins; a request that stays for less sees less of it.
        """
        stay_seconds = max(self.demand.shape.output_tokens_mean, 1.0) * itl_seconds
        seen = min(stay_seconds / DISPERSION_BIN_SECONDS, 1.0)
        return 1.0 + max(self.demand.arrival_dispersion - 1.0, 0.0) * seen

    def _admission_wait(self, replicas: int, probability: float) -> Wait:
        """Wait for decode space, as in G/M/c: slots free at the full batch's rate."""
        output = max(self.demand.shape.output_tokens_mean, 1.0)
        full = self.batch_limit
        served = replicas * full / (output * self.iteration_seconds(full))
        offered = self.demand.load.decode_tokens_per_second / output
        if served <= offered:
            return ENDLESS_WAIT
        variability = (self.demand.arrival_dispersion + 1.0) / 2.0
        return Wait(probability, (served - offered) / variability)

    def ttft_attainment(
        self,
        replicas: PerRole[int],
        wait: Wait,
        decode: DecodeState,
        allowed_seconds: Floats | float,
    ) -> float:
        """Share of prompts whose first token comes within the time allowed for each length."""
        link = self.link_utilisation(replicas)
        if link >= 1.0 or not math.isfinite(decode.itl_mean_seconds):
            return 0.0
        law = self.profile.transfer
        fixed = decode.itl_mean_seconds + law.base_seconds
        per_token = self.transfer_seconds(1.0, link) - law.base_seconds
        unqueued = self._service_seconds + fixed + per_token * self._prompts.points
        left = allowed_seconds - unqueued
        late, link_wait = wait.tail_after(decode.admission_wait, left), self.link_wait(replicas)
        if not link_wait.within(wait):
            late = np.maximum(late, link_wait.tail_after(decode.admission_wait, left))
        return float(self._prompts.shares @ (1.0 - late))

    def ttft_mean_seconds(self, replicas: PerRole[int]) -> float:
        """Mean time to first token; infinite when a stage cannot keep up."""
        link, decode = self.link_utilisation(replicas), self.decode(replicas.decode)
        transfer = self.transfer_seconds(self._prompt_tokens_mean, link)  # linear in tokens
        after = transfer + decode.itl_mean_seconds + decode.admission_wait.mean_seconds
        return self.prefill_mean_seconds(replicas.prefill) + after

    def prefill_mean_seconds(self, replicas: int) -> float:
        """Mean time that a prompt waits and is worked on in prefill."""
        return self.prefill_wait(replicas).mean_seconds + self.service_seconds_mean

    @cached_property
    def least(self) -> PerRole[float]:
        """Replicas that just keep up with the load, were there no chance in it."""
        full = self.batch_limit
        decode = self.demand.load.decode_tokens_per_second * self.iteration_seconds(full) / full
        return PerRole(
            max(self.prefill_erlangs, self._links), max(decode, self._links / self._ingress_share)
        )

    def flow(self, replicas: PerRole[int]) -> float:
        """Share of the offered requests that the narrowest stage can carry, at most 1.

        With memory used to the last: headroom is for what must not wait, and here all of it does.
        """
        load, law = self.demand.load, self.profile.decode
        room = self._batch_in_memory / (1.0 - self.settings.kv_headroom_fraction)
        full = min(room, law.max_sequences)
        tokens_per_second = replicas.decode * full / self.iteration_seconds(full)
        stages = (
            (replicas.prefill, self.prefill_erlangs),
            (tokens_per_second, load.decode_tokens_per_second),
            (1.0, self.link_utilisation(replicas)),
        )
        return min((1.0, *(able / asked for able, asked in stages if asked > 0)))

    def expect(self, replicas: PerRole[int]) -> Expectation:
        """Predict what a pair delivers; percentiles are at the share the SLO asks for."""
        wait, decode = self.prefill_wait(replicas.prefill), self.decode(replicas.decode)
        slo = self.settings.slo
        ttft = _smallest(
            lambda seconds: self.ttft_attainment(replicas, wait, decode, seconds),
            slo.attainment_fraction,
        )
        return Expectation(
            ttft_seconds=ttft,
            itl_seconds=self._itl_percentile(replicas.decode, slo.attainment_fraction),
            ttft_attainment=self.ttft_attainment(
                replicas, wait, decode, self.ttft_objective_seconds
            ),
            itl_attainment=decode.itl_attainment,
            carried_fraction=self.flow(replicas),
        )

    def _itl_percentile(self, replicas: int, share: float) -> float:
        if self.decode_utilisation(replicas) >= 1.0:
            return math.inf
        return self.iteration_seconds(_smallest(self._batch_law(replicas).at_most, share))

    @cached_property
    def attainable(self) -> PerRole[float]:
        """Best attainment of TTFT and of ITL with unlimited replicas: service times alone."""
        slo = self.settings.slo
        itl_alone = self.iteration_seconds(1.0)
        transfer = self.transfer_seconds(self._prompts.points, 0.0)
        alone = self._service_seconds + transfer + itl_alone
        ttft = self._prompts.shares @ (alone <= self.ttft_objective_seconds)
        return PerRole(float(ttft), 1.0 if itl_alone <= slo.itl_seconds else 0.0)


def _smallest(share_within: Callable[[float], float], share: float) -> float:
    """Smallest x >= 0 with share_within(x) >= share, to 0.1%; infinite when there is none."""
    low, high = 0.0, 1e-3
    while share_within(high) < share:
        low, high = high, 4.0 * high
        if high > 1e6:
            return math.inf
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if share_within(middle) >= share else (middle, high)
    return high
