"""The forecasting models that the settings name, and the trackers of a memory that use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from forecasting.forecaster import Fit, Forecaster
from forecasting.prophet import Prophet
from forecasting.registry import forecasters
from forecasting.tracker import Tracker
from policies.config import ForecastSettings
from policies.demand import LOADS
from policies.memory import Memory
from policies.outlook import calendar


def to_fit(settings: ForecastSettings) -> tuple[Forecaster, ...]:
    """The forecasters that the settings name; Prophet knows the country and the events."""
    named = (
        one for one in forecasters(settings.models or ()) if one.name in (settings.models or ())
    )
    events = calendar(settings)
    return tuple(
        replace(one, country=settings.country, events=events) if isinstance(one, Prophet) else one
        for one in named
    )


def trackers_of(memory: Memory) -> dict[str, Tracker]:
    """The memory's trackers by the names of their loads."""
    return {load.name: one for load, one in zip(LOADS, memory.trackers, strict=False)}


def with_fits(memory: Memory, fits: Mapping[str, Iterable[Fit]]) -> Memory:
    """Give each tracker the fits under its load's name."""
    if not fits:
        return memory
    known = trackers_of(memory).items()
    fitted = tuple(tracker.with_fits(fits.get(name, ())) for name, tracker in known)
    return replace(memory, trackers=fitted)
