"""From the answers to a preset's queries to an Observation; the same for every source."""

from __future__ import annotations

from collections.abc import Mapping

from planner.metrics.preset import Preset, Selection
from planner.metrics.vector import Buckets, Vector, number
from policies.types import Latency, Observation, PerRole


def queries(preset: Preset, selection: Selection) -> dict[str, str]:
    """List every query of a preset by `signal/rank`; rank 0 is asked first."""
    return {
        f"{name}/{rank}": selection.fill(query, lowercase_model=preset.lowercase_model)
        for name, signal in preset.signals.items()
        for rank, query in enumerate(signal.queries)
    }


class Reading:
    """The answers to one round of queries, each signal taken from the first that has one."""

    def __init__(self, preset: Preset, answers: Mapping[str, Vector]) -> None:
        self._chosen: dict[str, Vector] = {}
        for name, signal in preset.signals.items():
            for rank in range(len(signal.queries)):
                vector = answers.get(f"{name}/{rank}", ())
                if _known(name, vector):
                    self._chosen[name] = vector
                    break
        self.unknown = tuple(name for name in preset.signals if name not in self._chosen)

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
        prompts = self.buckets("input_tokens_buckets")
        return Observation(
            observed_at_seconds=at_seconds,
            window_seconds=window_seconds,
            requests_per_second=self.number("requests_per_second"),
            input_tokens=prompts.lengths(self.number("input_tokens_mean")) if prompts else None,
            output_tokens_mean=self.number("output_tokens_mean"),
            prefix_hit_fraction=self._fraction("prefix_hit_fraction"),
            ttft=self._latency("ttft"),
            itl=self._latency("itl"),
            waiting_requests=self._per_role("waiting_requests"),
            running_requests=self._per_role("running_requests"),
            kv_usage_fraction=self._fraction("kv_usage_fraction"),
            kv_transfer_backlog_requests=self.number("kv_transfer_backlog_requests"),
            problems=problems,
        )

    def _fraction(self, name: str) -> float | None:
        value = self.number(name)
        return min(value, 1.0) if value is not None else None

    def _per_role(self, name: str) -> PerRole[float | None]:
        return PerRole.of(lambda role: self.number(f"{role}_{name}"))

    def _latency(self, name: str) -> Latency:
        buckets = self.buckets(f"{name}_buckets")
        return Latency(
            mean_seconds=self.number(f"{name}_mean_seconds"),
            p95_seconds=buckets.quantile(0.95) if buckets else None,
        )


def _known(name: str, vector: Vector) -> bool:
    return (Buckets.read(vector) if name.endswith("_buckets") else number(vector)) is not None
