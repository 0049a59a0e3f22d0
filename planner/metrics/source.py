"""A MetricsSource that asks a preset's queries of something that can evaluate PromQL."""

from __future__ import annotations

from planner.metrics.evaluator import Evaluator
from planner.metrics.preset import Preset, Selection
from planner.metrics.reading import Reading, queries
from policies.types import Observation


class QueriedSource:
    """Observes by queries: all of them as of one time, what stays unknown named as a problem."""

    def __init__(self, evaluator: Evaluator, preset: Preset, selection: Selection) -> None:
        self._evaluator = evaluator
        self._preset = preset
        self._selection = selection
        self._queries = queries(preset, selection)

    async def observe(self, now_seconds: float) -> Observation:
        """Read all signals as of `now_seconds`."""
        answers = await self._evaluator.evaluate(self._queries, now_seconds)
        reading = Reading(self._preset, answers.vectors)
        problems = list(answers.problems)
        if reading.unknown and not (problems and not answers.vectors):
            problems.append(self._explain(reading))
        return reading.observation(now_seconds, self._selection.window_seconds, tuple(problems))

    def _explain(self, reading: Reading) -> str:
        if len(reading.unknown) < len(self._preset.signals):
            return f"no data for {', '.join(reading.unknown)}"
        labels = {**self._selection.labels, "model": self._selection.model}
        wanted = ", ".join(f"{name}={value!r}" for name, value in labels.items())
        return (
            f"no data at all for {wanted} under {self._preset.stack}'s metric names: "
            "check metrics.model, metrics.namespace and metrics.preset, and that pods are scraped"
        )

    async def close(self) -> None:
        """Release connections."""
        await self._evaluator.close()
