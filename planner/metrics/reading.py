"""From the answers to a preset's queries to an Observation; the same for every source."""

from __future__ import annotations

from collections.abc import Mapping

from planner.metrics.preset import Preset, Selection
from planner.metrics.signals import SIGNALS
from planner.metrics.vector import Buckets, Vector, number
from policies.dispersion import MOST_DISPERSION
from policies.lengths import Lengths
from policies.types import Latency, Observation, PerRole, Quality, Transfer


def queries(preset: Preset, selection: Selection) -> dict[str, str]:
    """List every query of a preset by `signal/rank`; rank 0 is asked first."""
    return {
        f"{name}/{rank}": selection.fill(query)
        for name, signal in preset.signals.items()
        for rank, query in enumerate(signal.queries)
    }


class Reading:
    """The answers to one round of queries, each signal taken from the first that has one.

    Prompts spread around their mean by `input_length_cv` where nothing else is known of them.
    """

    def __init__(
        self, preset: Preset, answers: Mapping[str, Vector], input_length_cv: float = 1.0
    ) -> None:
        self._input_length_cv = input_length_cv
        self._chosen: dict[str, Vector] = {}
        self._ranks: dict[str, int] = {}
        for name, signal in preset.signals.items():
            for rank in range(len(signal.queries)):
                vector = answers.get(f"{name}/{rank}", ())
                if _known(name, vector):
                    self._chosen[name], self._ranks[name] = vector, rank
                    break
        self.asked = frozenset(preset.signals)
        self.unknown = tuple(name for name in preset.signals if name not in self._chosen)

    def rank(self, name: str) -> int | None:
        """Which of a signal's queries answered; None if none did."""
        return self._ranks.get(name)

    def number(self, name: str) -> float | None:
        """Value of a signal; None is unknown."""
        return number(self._chosen.get(name, ()))

    def buckets(self, name: str) -> Buckets | None:
        """Histogram of a signal; None is unknown."""
        return Buckets.read(self._chosen.get(name, ()))

    def observation(
        self, at_seconds: float, window_seconds: float, problems: tuple[str, ...]
    ) -> Observation:
        """Put the signals together."""
        return Observation(
            observed_at_seconds=at_seconds,
            window_seconds=window_seconds,
            requests_per_second=self.number("requests_per_second"),
            arrival_dispersion=self._dispersion(),
            finished_per_second=self.number("finished_per_second"),
            input_tokens=self._lengths("input_tokens", self._input_length_cv),
            output_tokens=self._lengths("output_tokens"),
            output_tokens_mean=self.number("output_tokens_mean"),
            prefix_hit_fraction=self._fraction("prefix_hit_fraction"),
            ttft=self._latency("ttft"),
            itl=self._latency("itl"),
            waiting_requests=self._per_role("waiting_requests"),
            running_requests=self._per_role("running_requests"),
            kv_usage_fraction=self._fraction("kv_usage_fraction"),
            kv_usage_max_fraction=self._fraction("kv_usage_max_fraction"),
            kv_transfer_backlog_requests=self.number("kv_transfer_backlog_requests"),
            kv_transfer=Transfer(
                mean_seconds=self.number("kv_transfer_mean_seconds"),
                bytes_per_second=self.number("kv_transfer_bytes_per_second"),
                failures_per_second=self.number("kv_transfer_failures_per_second"),
            ),
            live_pods=self._per_role("live_pods"),
            demand_quality=Quality(age_seconds=self.number("demand_age_seconds")),
            pool_quality=PerRole.of(
                lambda role: Quality(
                    age_seconds=self.number(f"{role}_age_seconds"),
                    coverage_fraction=self._fraction(f"{role}_coverage_fraction"),
                )
            ),
            problems=problems,
        )

    def _fraction(self, name: str) -> float | None:
        value = self.number(name)
        # A little above 1 is rounding; 45 would be a percentage, which no stack reports.
        return min(value, 1.0) if value is not None and value <= 1.01 else None

    def _dispersion(self) -> float | None:
        value = self.number("arrival_dispersion")
        return None if value is None else min(value, MOST_DISPERSION)

    def _lengths(self, name: str, cv: float = 1.0) -> Lengths | None:
        """Distribution from buckets; where a stack has none, a lognormal one of the same mean."""
        buckets, mean = self.buckets(f"{name}_buckets"), self.number(f"{name}_mean")
        if buckets is not None:
            return buckets.lengths(mean)
        return Lengths.lognormal(mean, cv) if mean is not None else None

    def _per_role(self, name: str) -> PerRole[float | None]:
        return PerRole.of(lambda role: self.number(f"{role}_{name}"))

    def _latency(self, name: str) -> Latency:
        buckets = self.buckets(f"{name}_buckets")
        return Latency(
            mean_seconds=self.number(f"{name}_mean_seconds"),
            p50_seconds=buckets.quantile(0.50) if buckets else None,
            p95_seconds=buckets.quantile(0.95) if buckets else None,
            p99_seconds=buckets.quantile(0.99) if buckets else None,
        )


def _known(name: str, vector: Vector) -> bool:
    return (Buckets.read(vector) if SIGNALS[name].is_histogram else number(vector)) is not None
