"""The work that arrivals bring, which is what pools are sized for; completions hide overload."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.lengths import Lengths
from policies.profile import PrefillLaw, Profile
from policies.types import Hold, HoldReason, Observation, Trust

# Arrival dispersion is the variance over the mean of arrivals in bins of this length.
DISPERSION_BIN_SECONDS = 5.0


def prefill_seconds(
    law: PrefillLaw, prompt_tokens: float, prefix_hit_fraction: float = 0.0
) -> float:
    """Service time of one prompt, of which a prefix cache holds the usual share."""
    cached = prompt_tokens * prefix_hit_fraction
    return law.seconds(prompt_tokens - cached, cached)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The three loads that sizing needs, each a rate of work.

    `prefill_erlangs` is replica-seconds of prefill per second: the sum of T(n) over prompts, not
    T(mean). `decode_tokens_per_second` counts output tokens. `kv_token_steps_per_second` weighs
    each of them with the context it reads.
    """

    prefill_erlangs: float
    decode_tokens_per_second: float
    kv_token_steps_per_second: float

    def slowed(self, prefill_factor: float) -> Load:
        """The same requests on prefill replicas that take `prefill_factor` times as long."""
        return replace(self, prefill_erlangs=self.prefill_erlangs * prefill_factor)

    def plus(self, other: Load) -> Load:
        """Both loads together."""
        return Load(
            prefill_erlangs=self.prefill_erlangs + other.prefill_erlangs,
            decode_tokens_per_second=self.decode_tokens_per_second + other.decode_tokens_per_second,
            kv_token_steps_per_second=(
                self.kv_token_steps_per_second + other.kv_token_steps_per_second
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What requests look like, apart from how many there are."""

    prompt_tokens: Lengths
    prefix_hit_fraction: float
    output_tokens_mean: float

    def load_of(self, profile: Profile, requests_per_second: float) -> Load:
        """Work that this many requests per second bring."""
        output = self.output_tokens_mean
        tokens_per_second = requests_per_second * output
        return Load(
            prefill_erlangs=requests_per_second
            * self.prompt_tokens.average(
                lambda n: prefill_seconds(profile.prefill, n, self.prefix_hit_fraction)
            ),
            decode_tokens_per_second=tokens_per_second,
            kv_token_steps_per_second=tokens_per_second * (self.prompt_tokens.mean + output / 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A load and the shape of the requests that make it.

    `extra_transfers_per_second` counts KV hand-offs beyond those of the load, to clear a backlog.
    `arrival_dispersion` is the variance over the mean of arrivals within seconds: 1 for Poisson.
    """

    load: Load
    shape: Shape
    arrival_dispersion: float = 1.0
    extra_transfers_per_second: float = 0.0

    @property
    def context_tokens_mean(self) -> float:
        """Mean context that a generated token reads."""
        if self.load.decode_tokens_per_second <= 0:
            return self.shape.prompt_tokens.mean + self.shape.output_tokens_mean / 2
        return self.load.kv_token_steps_per_second / self.load.decode_tokens_per_second


def rate_of(
    observation: Observation, stale_after_seconds: float, now_seconds: float
) -> float | Hold:
    """Read the offered requests per second, or say why they cannot be known."""
    age = now_seconds - observation.observed_at_seconds
    if age > stale_after_seconds:
        return Hold(HoldReason.METRICS_STALE, f"the newest metrics are {age:.0f} s old")
    rate = observation.requests_per_second
    if rate is None or observation.trust is Trust.NONE:
        why = "; ".join(observation.problems) or "no arrival rate"
        return Hold(HoldReason.METRICS_UNKNOWN, why)
    return rate


def shape_of(observation: Observation, known: Shape | None) -> Shape | None:
    """Read the requests' shape; what is not seen now keeps its last known value.

    None while prompt or output lengths were never seen.
    """
    prompt = observation.input_tokens or (known.prompt_tokens if known else None)
    output = observation.output_tokens_mean
    if output is None and known:
        output = known.output_tokens_mean
    hit = observation.prefix_hit_fraction
    if hit is None:
        hit = known.prefix_hit_fraction if known else 0.0
    if prompt is None or output is None:
        return None
    return Shape(prompt_tokens=prompt, prefix_hit_fraction=hit, output_tokens_mean=output)
