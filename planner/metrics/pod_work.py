"""How many requests each pod holds, which decides whom a scale-in costs least."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from planner.metrics.evaluator import Evaluator
from planner.metrics.preset import Preset, Selection
from policies.types import Role


class PodWork:
    """Asks the role's own signals again, pod by pod; only before a scale-in, so seldom."""

    def __init__(self, evaluator: Evaluator, preset: Preset, selection: Selection) -> None:
        self._evaluator = evaluator
        self._preset = preset
        self._selection = selection

    async def read(self, role: Role, now_seconds: float) -> Mapping[str, float]:
        """Requests running and waiting in each pod by name; a pod that says nothing is left out."""
        asked = {
            f"{signal}/{rank}": self._by_pod(query)
            for signal in (f"{role}_running_requests", f"{role}_waiting_requests")
            if signal in self._preset.signals
            for rank, query in enumerate(self._preset.signals[signal].queries)
        }
        answers = await self._evaluator.evaluate(asked, now_seconds)
        work: dict[str, float] = defaultdict(float)
        answered: set[str] = set()
        for name, vector in answers.vectors.items():
            signal = name.partition("/")[0]
            pods = {s.labels["pod"]: s.value for s in vector if "pod" in s.labels}
            if signal in answered or not pods:
                continue
            answered.add(signal)
            for pod, requests in pods.items():
                work[pod] += requests
        return {pod: requests for pod, requests in work.items() if math.isfinite(requests)}

    async def close(self) -> None:
        """Release connections."""
        await self._evaluator.close()

    def _by_pod(self, query: str) -> str:
        """Sum a signal's query by pod: presets sum over all pods of a role."""
        filled = self._selection.fill(query)
        return filled.replace("sum(", "sum by (pod) (")
