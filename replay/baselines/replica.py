"""What an operator knows from benchmarking one replica, which rules take their targets from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.config import Slo
from policies.demand import Load, Shape, prefill_seconds, shape_of
from policies.profile import Profile
from policies.types import Observation, PerRole, PoolState


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica of each role under requests of mean length, as a benchmark would use."""

    profile: Profile
    slo: Slo
    input_tokens: float
    output_tokens: float
    prefix_hit_fraction: float

    @classmethod
    def under(cls, profile: Profile, slo: Slo, shape: Shape) -> Replica:
        """Benchmark with the mean lengths of some requests."""
        return cls(
            profile,
            slo,
            shape.prompt_tokens.mean,
            max(shape.output_tokens_mean, 1.0),
            shape.prefix_hit_fraction,
        )

    @property
    def context_tokens(self) -> float:
        """Mean context of a sequence in decode."""
        return self.input_tokens + self.output_tokens / 2

    @property
    def prompt_seconds(self) -> float:
        """Time to prefill one prompt alone."""
        return prefill_seconds(self.profile.prefill, self.input_tokens, self.prefix_hit_fraction)

    def iteration_seconds(self, batch: float) -> float:
        """One decode iteration with that many sequences."""
        law = self.profile.decode
        return law.base_seconds + batch * (
            law.seconds_per_sequence + law.seconds_per_context_token * self.context_tokens
        )

    @property
    def largest_batch(self) -> int:
        """Most sequences that memory and the engine allow."""
        law = self.profile.decode
        return max(1, min(law.max_sequences, int(law.kv_capacity_tokens // self.context_tokens)))

    @property
    def batch_within_slo(self) -> int:
        """Most sequences that keep the ITL objective, at least 1."""
        slope = self.iteration_seconds(1.0) - self.iteration_seconds(0.0)
        room = self.slo.itl_seconds - self.iteration_seconds(0.0)
        within = math.floor(room / slope) if slope > 0 else self.largest_batch
        return max(1, min(within, self.largest_batch))

    @property
    def tokens_per_second_within_slo(self) -> float:
        """Tokens that one decode replica generates with the largest batch within the SLO."""
        batch = self.batch_within_slo
        return batch / self.iteration_seconds(batch)


def load_now(seen: Observation, profile: Profile) -> tuple[Load, Shape] | None:
    """The load offered within the window of an observation; None when it is not known."""
    shape = shape_of(seen, None)
    if seen.requests_per_second is None or shape is None:
        return None
    return shape.load_of(profile, seen.requests_per_second), shape


def utilisation(
    seen: Observation, pools: PerRole[PoolState], profile: Profile, slo: Slo
) -> PerRole[float | None]:
    """How busy ready replicas are, as an exact gauge would show it; None when unknown.

    Prefill: the work that arrived in the window and the work still waiting, over what ready
    replicas can do within the window, at most 1. Decode: sequences over the most that keep the
    ITL objective, or the use of KV memory if that is higher.
    """
    now = load_now(seen, profile)
    if now is None or 0 in (pools.prefill.ready_replicas, pools.decode.ready_replicas):
        return PerRole(None, None)
    load, shape = now
    replica = Replica.under(profile, slo, shape)
    waiting = (seen.waiting_requests.prefill or 0.0) * replica.prompt_seconds / seen.window_seconds
    busy = min((load.prefill_erlangs + waiting) / pools.prefill.ready_replicas, 1.0)
    running = seen.running_requests.decode
    if running is None:
        return PerRole(busy, None)
    filled = running / (pools.decode.ready_replicas * replica.batch_within_slo)
    return PerRole(busy, max(filled, seen.kv_usage_fraction or 0.0))
