"""What a pair of pools delivers under a demand: predicted TTFT, ITL and attainment."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from policies.config import PolicySettings
from policies.demand import DISPERSION_BIN_SECONDS, Demand
from policies.lengths import Lengths
from policies.prefill import PrefillStage
from policies.profile import Profile
from policies.queueing import ENDLESS_WAIT, NO_WAIT, Wait, batch_at_most, wait_of_pool
from policies.types import Expectation, PerRole

# Iterations from a landing to the first token: what is left of the one under way, and one more.
_TO_FIRST_TOKEN = 1.5


class BatchLaw(NamedTuple):
    """How many sequences a decode pool of `pool` replicas holds; see `batch_at_most`.

    Replicas that share one queue are one pool. Requests come in clumps, which widens the law as
    many times. `base_sequences` take as long as an iteration without any.
    """

    pool: int
    clump: float
    base_sequences: float
    utilisation: float
    itl_mean_seconds: float

    def at_most(self, batch: float, wider: float = 0.0) -> float:
        """P(each replica's batch <= `batch`) as an arriving request finds it, itself counted.

        With clumps of that much more where what is counted varies by itself.
        """
        clump = self.clump + wider
        shape = 1.0 + self.pool * self.base_sequences / clump
        return batch_at_most((self.pool * batch - 1.0) / clump, shape, self.utilisation)


class DecodeState(NamedTuple):
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
    def _points(self) -> tuple[tuple[float, float, float], ...]:
        """Share, tokens and prefill time of each point of the prompt length distribution."""
        prompts, hit = self._prompts, self.demand.shape.prefix_hit_fraction
        alone, per_token, per_square = self.profile.prefill.by_prompt_tokens(hit)
        return tuple(
            [
                (share, tokens, alone + tokens * (per_token + tokens * per_square))
                for share, tokens in zip(prompts.weights, prompts.tokens, strict=True)
            ]
        )

    @property
    def unqueued_seconds_max(self) -> float:
        """TTFT of the longest prompt in a full iteration that it does not wait for."""
        longest = max(seconds for _, _, seconds in self._points)
        transfer = self.transfer_seconds(max(self._prompts.tokens), 0.0)
        full = self.prefill.full_iteration_seconds
        return longest + full + transfer + self.iteration_seconds(1.0)

    @cached_property
    def prefill(self) -> PrefillStage:
        """Prefill pools of any size."""
        pooled = self.settings.routing == "least_loaded"
        return PrefillStage.of(self.profile.prefill, self.demand, pooled=pooled)

    @property
    def prefill_erlangs(self) -> float:
        """Least prefill replicas that can keep up."""
        return self.prefill.erlangs

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
        extra = self.demand.extra_transfers_per_second
        transfers_per_second = self.prefill.requests_per_second + extra
        bytes_per_second = transfers_per_second * self._prompts.mean * law.bytes_per_token
        return bytes_per_second / law.bytes_per_second

    def transfer_seconds(self, prompt_tokens: float, link_utilisation: float) -> float:
        """KV hand-off time of a prompt."""
        per_token = self._transfer_seconds_per_token(link_utilisation)
        return self.profile.transfer.base_seconds + per_token * prompt_tokens

    def _transfer_seconds_per_token(self, link_utilisation: float) -> float:
        """On a link shared by processor sharing, whose mean slowdown is 1/(1-rho)."""
        law = self.profile.transfer
        alone = law.exposed_fraction * law.bytes_per_token / law.bytes_per_second
        alone = alone / min(self._ingress_share, 1.0)
        return alone / max(1.0 - link_utilisation, 1e-9)

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
        alone = self._prompts.mean * law.bytes_per_token / law.bytes_per_second
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
        law = self._batch_law(replicas)
        if law is None:
            return DecodeState(0.0, math.inf, ENDLESS_WAIT)
        return DecodeState(
            itl_attainment=law.at_most(self._batch_within_slo),
            itl_mean_seconds=law.itl_mean_seconds,
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

    def _batch_law(self, replicas: int) -> BatchLaw | None:
        """The law of a pool's batches; None where it cannot keep up."""
        utilisation = self.decode_utilisation(replicas)
        if utilisation >= 1.0:
            return None
        pool = replicas if self.settings.routing == "least_loaded" else 1
        itl_mean_seconds = self.iteration_seconds(1.0 / pool) / (1.0 - utilisation)
        return BatchLaw(
            pool=pool,
            clump=self._clump(itl_mean_seconds),
            base_sequences=self.profile.decode.base_seconds / self._slope_seconds,
            utilisation=utilisation,
            itl_mean_seconds=itl_mean_seconds,
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
        self, replicas: PerRole[int], wait: Wait, decode: DecodeState, relief_seconds: float = 0.0
    ) -> float:
        """Share of prompts whose first token comes within the objective, or so much later."""
        slo = self.settings.slo
        allowed_seconds = slo.ttft_seconds + relief_seconds
        per_token = slo.ttft_seconds_per_input_token
        return self._ttft_within(replicas, wait, decode, allowed_seconds, per_token)

    def _ttft_within(
        self,
        replicas: PerRole[int],
        wait: Wait,
        decode: DecodeState,
        seconds: float,
        seconds_per_token: float = 0.0,
    ) -> float:
        """Share of prompts whose first token comes within a time that may grow with the prompt.

        Plain floats: the lengths are a dozen or so, too few for arrays to be quicker.
        """
        link = self.link_utilisation(replicas)
        if link >= 1.0 or wait.endless or decode.admission_wait.endless:
            return 0.0
        late, link_wait = wait.after(decode.admission_wait), self.link_wait(replicas)
        if not link_wait.within(wait):
            late = _later_of(late, link_wait.after(decode.admission_wait))
        left = (
            seconds - _TO_FIRST_TOKEN * decode.itl_mean_seconds - self.profile.transfer.base_seconds
        )
        per_token = seconds_per_token - self._transfer_seconds_per_token(link)
        in_time = 0.0
        for share, tokens, service in self._points:
            in_time += share * (1.0 - late(left + per_token * tokens - service))
        return in_time

    def after_prefill_seconds(self, replicas: PerRole[int]) -> float:
        """Mean time from the end of prefill to the first token; infinite in an overload."""
        link, decode = self.link_utilisation(replicas), self.decode(replicas.decode)
        transfer = self.transfer_seconds(self._prompts.mean, link)  # linear in tokens
        return (
            transfer
            + _TO_FIRST_TOKEN * decode.itl_mean_seconds
            + decode.admission_wait.mean_seconds
        )

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
        wait, decode = self.prefill.wait(replicas.prefill), self.decode(replicas.decode)
        slo = self.settings.slo
        ttft = _smallest(
            lambda seconds: self._ttft_within(replicas, wait, decode, seconds),
            slo.attainment_fraction,
        )
        return Expectation(
            ttft_seconds=ttft,
            itl_seconds=self._itl_percentile(replicas.decode, slo.attainment_fraction),
            ttft_attainment=self.ttft_attainment(replicas, wait, decode),
            itl_attainment=decode.itl_attainment,
            carried_fraction=self.flow(replicas),
        )

    def _itl_percentile(self, replicas: int, share: float) -> float:
        law = self._batch_law(replicas)
        return math.inf if law is None else self.iteration_seconds(_smallest(law.at_most, share))

    @cached_property
    def attainable(self) -> PerRole[float]:
        """Best attainment of TTFT and of ITL with unlimited replicas: service times alone."""
        slo = self.settings.slo
        itl_alone = self.iteration_seconds(1.0)
        room = slo.ttft_seconds - itl_alone - self.profile.transfer.base_seconds
        per_token = slo.ttft_seconds_per_input_token - self._transfer_seconds_per_token(0.0)
        in_time = [share for share, n, alone in self._points if alone <= room + per_token * n]
        return PerRole(sum(in_time), 1.0 if itl_alone <= slo.itl_seconds else 0.0)


def _later_of(
    one: Callable[[float], float], other: Callable[[float], float]
) -> Callable[[float], float]:
    return lambda seconds: max(one(seconds), other(seconds))


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
