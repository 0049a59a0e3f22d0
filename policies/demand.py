"""The work that arrivals bring, which is what pools are sized for; completions hide overload."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import NamedTuple

from policies.lengths import Lengths
from policies.profile import PrefillLaw, Profile, Tokens
from policies.types import Hold, HoldReason, Observation, Role, Trust

# Arrival dispersion is the variance over the mean of arrivals in bins of this length.
DISPERSION_BIN_SECONDS = 5.0

_LEAST_SEQUENCES = 20.0
_MOST_HELD = 4.0


def prefill_seconds(
    law: PrefillLaw, prompt_tokens: Tokens, prefix_hit_fraction: float = 0.0
) -> Tokens:
    """Service time of a prompt, of which a prefix cache holds the usual share."""
    alone, per_token, per_square = law.by_prompt_tokens(prefix_hit_fraction)
    return alone + prompt_tokens * (per_token + prompt_tokens * per_square)


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

    @classmethod
    def of(cls, values: Iterable[float]) -> Load:
        """From the values of `LOADS`, in their order."""
        return cls(**{load.name: value for load, value in zip(LOADS, values, strict=True)})

    def times(self, factor: float) -> Load:
        """As much of all of it."""
        return Load(
            prefill_erlangs=self.prefill_erlangs * factor,
            decode_tokens_per_second=self.decode_tokens_per_second * factor,
            kv_token_steps_per_second=self.kv_token_steps_per_second * factor,
        )

    def slowed(self, prefill_factor: float) -> Load:
        """The same requests on prefill replicas that take `prefill_factor` times as long."""
        return Load(
            prefill_erlangs=self.prefill_erlangs * prefill_factor,
            decode_tokens_per_second=self.decode_tokens_per_second,
            kv_token_steps_per_second=self.kv_token_steps_per_second,
        )

    def plus(self, other: Load) -> Load:
        """Both loads together."""
        return Load(
            prefill_erlangs=self.prefill_erlangs + other.prefill_erlangs,
            decode_tokens_per_second=self.decode_tokens_per_second + other.decode_tokens_per_second,
            kv_token_steps_per_second=(
                self.kv_token_steps_per_second + other.kv_token_steps_per_second
            ),
        )


class Followed(NamedTuple):
    """A load by its name in `Load`, and the role whose start-up time it is forecast over."""

    name: str
    role: Role
    value: Callable[[Load], float]

    @classmethod
    def by(cls, name: str, role: Role) -> Followed:
        """The load of that name."""
        return cls(name, role, attrgetter(name))


# Each load is followed by itself: a product of forecasts of rate and lengths would be biased,
# because they move together.
LOADS = (
    Followed.by("prefill_erlangs", Role.PREFILL),
    Followed.by("decode_tokens_per_second", Role.DECODE),
    Followed.by("kv_token_steps_per_second", Role.DECODE),
)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What requests look like, apart from how many there are.

    Prompts and answers are taken to be of independent lengths.
    """

    prompt_tokens: Lengths
    prefix_hit_fraction: float
    output_tokens: Lengths

    @property
    def output_tokens_mean(self) -> float:
        """Mean length of an answer."""
        return self.output_tokens.mean

    @cached_property
    def context_tokens_mean(self) -> float:
        """Mean context that a generated token reads, E[O (I + O/2)] / E[O].

        Long answers generate most of the tokens: with a coefficient of variation of 1 the mean
        answer that a token belongs to is twice E[O], and the context is I + E[O], not I + E[O]/2.
        """
        output = self.output_tokens_mean
        if output <= 0:
            return self.prompt_tokens.mean
        return self.prompt_tokens.mean + self.output_tokens.moments[1] / (2 * output)

    @property
    def promised_factor(self) -> float:
        """KV memory of sequences that were promised room for the whole answer, over their context.

        (I + E[O^2] / E[O]) over (I + E[O^2] / 2 E[O]): at most 2, for answers to short prompts.
        """
        context = self.context_tokens_mean
        return (2 * context - self.prompt_tokens.mean) / context if context > 0 else 1.0

    @cached_property
    def context_cv2(self) -> float:
        """Squared coefficient of variation of the context of sequences found in decode.

        A sequence is found there in proportion to its answer, at a uniform place within it.
        """
        i1, i2, _, _ = self.prompt_tokens.moments
        o1, o2, o3, _ = self.output_tokens.moments
        if o1 <= 0 or self.context_tokens_mean <= 0:
            return 0.0
        squared = i2 + i1 * o2 / o1 + o3 / (3 * o1)
        return max(squared / self.context_tokens_mean**2 - 1.0, 0.0)

    def pooled(self, newer: Shape, share: float) -> Shape:
        """The shape of these requests and newer ones, which make up `share` of them."""
        hit = self.prefix_hit_fraction
        return Shape(
            prompt_tokens=self.prompt_tokens.pooled(newer.prompt_tokens, share),
            prefix_hit_fraction=hit + share * (newer.prefix_hit_fraction - hit),
            output_tokens=self.output_tokens.pooled(newer.output_tokens, share),
        )

    def prefill_seconds_mean(self, law: PrefillLaw) -> float:
        """Mean time that one of these prompts takes alone."""
        alone, per_token, per_square = law.by_prompt_tokens(self.prefix_hit_fraction)
        n1, n2, _, _ = self.prompt_tokens.moments
        return alone + per_token * n1 + per_square * n2

    def prefill_seconds_square(self, law: PrefillLaw) -> float:
        """Mean of the square of that time."""
        a, b, c = law.by_prompt_tokens(self.prefix_hit_fraction)
        n1, n2, n3, n4 = self.prompt_tokens.moments
        return a * a + 2 * a * b * n1 + (b * b + 2 * a * c) * n2 + 2 * b * c * n3 + c * c * n4

    def load_of(self, profile: Profile, requests_per_second: float) -> Load:
        """Work that this many requests per second bring."""
        tokens_per_second = requests_per_second * self.output_tokens_mean
        return Load(
            prefill_erlangs=requests_per_second * self.prefill_seconds_mean(profile.prefill),
            decode_tokens_per_second=tokens_per_second,
            kv_token_steps_per_second=tokens_per_second * self.context_tokens_mean,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A load and the shape of the requests that make it.

    `extra_transfers_per_second` counts KV hand-offs beyond those of the load, to clear a backlog.
    `arrival_dispersion` is the variance over the mean of arrivals within seconds: 1 for Poisson.
    `kv_held_factor` is the KV memory that a sequence holds over what it has in use: above 1 where
    the engine promises room for whole answers.
    """

    load: Load
    shape: Shape
    arrival_dispersion: float = 1.0
    kv_held_factor: float = 1.0
    extra_transfers_per_second: float = 0.0

    @property
    def context_tokens_mean(self) -> float:
        """Mean context that a generated token reads."""
        if self.load.decode_tokens_per_second <= 0:
            return self.shape.context_tokens_mean
        return self.load.kv_token_steps_per_second / self.load.decode_tokens_per_second


def rate_of(
    observation: Observation, stale_after_seconds: float, now_seconds: float
) -> float | Hold:
    """Read the offered requests per second, or say why they cannot be known."""
    age = now_seconds - observation.observed_at_seconds
    if age > stale_after_seconds:
        why = f"the newest are {age:.0f} s old, and {stale_after_seconds:g} s are allowed"
        return Hold(HoldReason.METRICS_STALE, why)
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
    output = observation.output_tokens
    if output is None and observation.output_tokens_mean is not None:
        output = Lengths.lognormal(observation.output_tokens_mean)
    if output is None and known:
        output = known.output_tokens
    hit = observation.prefix_hit_fraction
    if hit is None:
        hit = known.prefix_hit_fraction if known else 0.0
    if prompt is None or output is None:
        return None
    return Shape(prompt_tokens=prompt, prefix_hit_fraction=hit, output_tokens=output)


def kv_held_factor(
    observation: Observation, ready_replicas: int, shape: Shape, profile: Profile
) -> float | None:
    """KV memory that a sequence was seen to hold, over the context it is expected to have.

    Above 1 where the engine promises room for whole answers, or prompts and answers are long
    together; below it where sequences share prefixes. Too few sequences tell nothing: None.
    """
    running, usage = observation.running_requests.decode, observation.kv_usage_fraction
    if running is None or usage is None or running < _LEAST_SEQUENCES:
        return None
    held = usage * profile.decode.kv_capacity_tokens * ready_replicas / running
    expected = shape.context_tokens_mean
    return min(max(held / expected, 1 / _MOST_HELD), _MOST_HELD) if expected > 0 else None
