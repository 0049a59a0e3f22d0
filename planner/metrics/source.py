"""A MetricsSource that asks a preset's queries of something that can evaluate PromQL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from planner.metrics.crosschecks import Evidence
from planner.metrics.evaluator import Answers, Evaluator
from planner.metrics.preset import Preset, Selection
from planner.metrics.quality import QualitySettings, judge
from planner.metrics.reading import Reading, queries
from planner.metrics.signals import SIGNALS, Origin
from policies.types import Observation


class Interpreter:
    """Makes observations of answers, each checked against those of the last window."""

    def __init__(
        self,
        preset: Preset,
        selection: Selection,
        quality: QualitySettings,
        input_length_cv: float = 1.0,
    ) -> None:
        self._input_length_cv = input_length_cv
        self._preset = preset
        self._selection = selection
        self._quality = quality
        self._past: deque[Observation] = deque()
        self.queries = queries(preset, selection)
        """What to ask, by the names that answers are to have."""

    def observation(self, answers: Answers, now_seconds: float) -> Observation:
        """What one round of answers says as of `now_seconds`; what stays unknown is a problem."""
        reading = Reading(self._preset, answers.vectors, self._input_length_cv)
        gaps = self._gaps(reading) if answers.vectors else ()
        window = self._selection.window_seconds
        seen = reading.observation(now_seconds, window, (*answers.problems, *gaps))
        while self._past and self._past[0].observed_at_seconds < now_seconds - window:
            self._past.popleft()
        evidence = Evidence(seen, tuple(self._past), reading, answers.doubts)
        judged = judge(evidence, self._quality)
        self._past.append(seen)
        return judged

    def _gaps(self, reading: Reading) -> Iterator[str]:
        """Name what is unknown of the demand; of the pools, `quality` does.

        An idle front end has no lengths and latencies to report.
        """
        if len(reading.unknown) == len(self._preset.signals):
            labels = {**self._selection.labels, "model": self._selection.model}
            wanted = ", ".join(f"{name}={value!r}" for name, value in labels.items())
            yield (
                f"no data at all for {wanted} under the metric names of {self._preset.stack}: "
                "check metrics.model, metrics.namespace, metrics.preset, and that pods are scraped"
            )
            return
        missing = [
            name
            for name in reading.unknown
            if SIGNALS[name].needed and SIGNALS[name].origin is Origin.DEMAND
        ]
        if missing and reading.number("requests_per_second") != 0:
            yield f"no data for {', '.join(missing)}"


class QueriedSource:
    """Observes by queries, all of them as of one time."""

    def __init__(self, evaluator: Evaluator, interpreter: Interpreter) -> None:
        self._evaluator = evaluator
        self._interpreter = interpreter

    async def observe(self, now_seconds: float) -> Observation:
        """Read all signals as of `now_seconds`."""
        answers = await self._evaluator.evaluate(self._interpreter.queries, now_seconds)
        return self._interpreter.observation(answers, now_seconds)

    async def close(self) -> None:
        """Release connections."""
        await self._evaluator.close()
