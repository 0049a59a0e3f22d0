"""Between ticks: fits that are done go to the memory's trackers, and those that are due begin."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from planner.fitting import Fitting
from policies.config import PolicySettings
from policies.memory import Memory
from policies.models import trackers_of, with_fits

log = structlog.get_logger(__name__)

SERVICE_MODELS = ("seasonal_naive", "ets", "sarimax", "lagged_ridge")
"""What a service fits unless told otherwise: each is the best on some measured series, or cheap and
the measure of the others. docs/forecasting.md has the measurements."""


def with_models(settings: PolicySettings) -> PolicySettings:
    """The settings with the service's models where none are named."""
    if settings.forecast.models is not None:
        return settings
    forecast = settings.forecast.model_copy(update={"models": SERVICE_MODELS})
    return settings.model_copy(update={"forecast": forecast})


@dataclass(frozen=True, slots=True)
class Refitting:
    """Keeps the models of a memory's trackers fresh; `fitting` does the work elsewhere."""

    fitting: Fitting

    def renew(self, memory: Memory, now_seconds: float) -> Memory:
        """Return the memory with what was fitted since, and begin what is due. Never raises."""
        try:
            renewed = with_fits(memory, self.fitting.take())
            self.fitting.begin(trackers_of(renewed), now_seconds)
        except Exception:  # a model from outside must not stop the decisions
            log.exception("fits not used; deciding without them")
            return memory
        return renewed
