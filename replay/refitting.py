"""Models fitted inside a replay: at simulated times, at once, and so the same in every run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from forecasting.due import Schedule
from forecasting.forecaster import Fit, Forecaster, fit
from policies.config import ForecastSettings
from policies.memory import Memory
from policies.models import to_fit, trackers_of, with_fits
from policies.types import Decision, Observation, Pools
from replay.simulator import Policy


@dataclass(slots=True)
class Refits:
    """What `planner.refitting` does for a service, without a process or a clock of its own.

    A service uses a fit a few ticks after it began; here it is there at once.
    """

    forecasters: tuple[Forecaster, ...]
    schedule: Schedule

    @classmethod
    def of(cls, settings: ForecastSettings) -> Refits:
        """The models that the settings name; none where they are left to the service."""
        return cls(to_fit(settings), Schedule(settings.refit_seconds))

    def renew(self, memory: Memory, now_seconds: float) -> Memory:
        """Fit what is due, and return the memory with it."""
        trackers = trackers_of(memory)
        fits: defaultdict[str, list[Fit]] = defaultdict(list)
        for key, forecaster in self.schedule.due(self.forecasters, trackers, now_seconds):
            tracker = trackers[key]
            fits[key].append(fit(forecaster, tracker.plausible_history(), tracker.settings.target))
        return with_fits(memory, fits)


@dataclass(frozen=True, slots=True)
class Refitted:
    """A policy whose models are fitted between its decisions."""

    policy: Policy
    refits: Refits

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Fit what is due, then decide."""
        memory = self.refits.renew(memory, now_seconds)
        return self.policy.decide(observation, pools, memory, now_seconds)
