"""When not to trust the models: after a change of the load, or while promises are broken."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from forecasting.change import UNWATCHED, ChangeWatch
from forecasting.target import Target

_OUTCOMES = 60
_LEAST_OUTCOMES = 20
_STANDARD_ERRORS = 4.0  # looked at after every cell, so two would be exceeded all the time
_LEAST_PAUSE_CELLS = 10


@dataclass(frozen=True, slots=True)
class Alertness:
    """Reactive for `pause_cells` more cells, because of `why`; what else is needed to tell."""

    watch: ChangeWatch = UNWATCHED
    misses: tuple[bool, ...] = ()
    pause_cells: int = 0
    why: str = ""

    @property
    def reactive(self) -> bool:
        """Whether only the last value is to be trusted now."""
        return self.pause_cells > 0

    def after_outcome(self, missed: bool) -> Alertness:
        """Remember whether a promise was kept."""
        return replace(self, misses=(*self.misses, missed)[-_OUTCOMES:])

    def after_cell(
        self, error: float, naive_error: float, target: Target, fraction: float
    ) -> Alertness:
        """Take in one-step errors; raise the alarm for a change or for broken promises.

        Targets of neighbouring cells overlap, so their outcomes count as one per `last_step`.
        """
        watch = self.watch.after(error, naive_error)
        calm = Alertness(watch, self.misses, max(self.pause_cells - 1, 0), self.why)
        pause = max(_LEAST_PAUSE_CELLS, target.last_step)
        if watch.changed:
            return replace(calm, pause_cells=pause, why="change point: the load left its path")
        count = len(self.misses)
        if count < _LEAST_OUTCOMES:
            return calm
        asked = 1 - fraction
        chance = _STANDARD_ERRORS * math.sqrt(asked * (1 - asked) * target.last_step / count)
        share = sum(self.misses) / count
        if share > asked + chance:
            why = f"coverage: {share:.0%} of the last {count} forecasts were too low"
            return replace(calm, pause_cells=pause, why=why, misses=())
        return calm


CALM = Alertness()
