"""The load to be ready for: what will be offered by the time that a replica started now serves."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from forecasting.events import Calendar, Event
from forecasting.forecast import Mode
from forecasting.recent import trailing_mean
from forecasting.target import Target
from forecasting.tracker import ALWAYS, Tracker, TrackerSettings
from policies.config import PolicySettings
from policies.demand import Load
from policies.memory import Memory
from policies.types import LoadForecast, PerRole, Role


class Followed(NamedTuple):
    """A load by its name in `Load`, and the role whose start-up time it is forecast over."""

    name: str
    role: Role
    value: Callable[[Load], float]


# Each load is followed by a tracker of its own: a product of forecasts of rate and lengths would
# be biased, because they move together.
LOADS = (
    Followed("prefill_erlangs", Role.PREFILL, lambda load: load.prefill_erlangs),
    Followed("decode_tokens_per_second", Role.DECODE, lambda load: load.decode_tokens_per_second),
    Followed("kv_token_steps_per_second", Role.DECODE, lambda load: load.kv_token_steps_per_second),
)


def follow(
    trackers: tuple[Tracker, ...], memory: Memory, settings: PolicySettings, now_seconds: float
) -> tuple[Tracker, ...]:
    """Show the newest load to the trackers, one for each of `LOADS`, in their order.

    Decode load is first averaged over the time a request resides there: a sequence of 2,000 tokens
    at 40 ms stays for 80 s, and arrivals that come and go within that time never meet in a batch.
    Trackers kept under other settings carry their history over.
    """
    stay_seconds = memory.stay_seconds(settings.slo.itl_seconds)
    followed = []
    for i, (_, role, value) in enumerate(LOADS):
        wanted = tracker_settings(settings, role)
        tracker = trackers[i].under(wanted) if trackers else Tracker.fresh(wanted)
        averaged = trailing_mean(
            memory.seconds_array(),
            memory.history(value),
            stay_seconds if role is Role.DECODE else 0.0,
        )
        followed.append(tracker.update(now_seconds, float(averaged[-1])))
    return tuple(followed)


def tracker_settings(settings: PolicySettings, role: Role) -> TrackerSettings:
    """What to forecast for a role: the peak from its start-up time on, for the hold after it."""
    forecast = settings.forecast
    target = Target.of(
        settings.roles[role].startup_seconds, forecast.hold_seconds, forecast.step_seconds
    )
    return TrackerSettings(
        names=tuple(dict.fromkeys((*(model.name for model in ALWAYS), *(forecast.models or ())))),
        step_seconds=forecast.step_seconds,
        target=target,
        fraction=forecast.quantile_fraction,
        events=Calendar(
            tuple(
                Event(
                    start_seconds=event.start.timestamp(),
                    end_seconds=event.end.timestamp(),
                    multiplier=event.multiplier,
                )
                for event in forecast.events
            )
        ),
    )


def told(trackers: tuple[Tracker, ...]) -> tuple[LoadForecast, ...]:
    """What each tracker says, for the record."""
    return tuple(_told(load.name, tracker) for load, tracker in zip(LOADS, trackers, strict=False))


def _told(load: str, tracker: Tracker) -> LoadForecast:
    forecast, settings = tracker.forecast, tracker.settings
    recent = tracker.history.values[-settings.target.last_step :]
    known = recent[~np.isnan(recent)]  # ticks further apart than cells leave some empty
    return LoadForecast(
        load=load,
        seen=float(known[-1]) if known.size else None,
        centre=forecast.centre,
        upper=forecast.upper,
        lead_seconds=settings.target.first_step * settings.step_seconds,
        mode=forecast.mode,
        why=forecast.why,
        weights=forecast.weights,
    )


def turn_notes(before: tuple[Tracker, ...], after: tuple[Tracker, ...]) -> tuple[str, ...]:
    """Say where a forecast began to warm up in this tick, or models gave way to the last value."""
    notes: dict[str, None] = {}
    for i, tracker in enumerate(after):
        old = before[i].forecast.mode if i < len(before) else Mode.NO_DATA
        now = tracker.forecast
        if now.mode is not old and now.mode is Mode.WARMING_UP:
            notes["the forecast is warming up: it follows the peak of the last minutes"] = None
        if (old, now.mode) == (Mode.ENSEMBLE, Mode.REACTIVE):
            notes[f"the forecast of {_WORDS[i]} is reactive: {now.why}"] = None
    return tuple(notes)


_WORDS = ("prefill work", "decode tokens", "KV reads")


def floor(settings: PolicySettings, now_seconds: float) -> PerRole[float]:
    """Requests per second that the calendar promises while a replica started now is needed."""

    def promised(role: Role) -> float:
        until = now_seconds + settings.roles[role].startup_seconds + settings.forecast.hold_seconds
        return max(
            (
                event.floor_requests_per_second
                for event in settings.forecast.events
                if event.start.timestamp() < until and now_seconds < event.end.timestamp()
            ),
            default=0.0,
        )

    return PerRole.of(promised)


def outlook(trackers: tuple[Tracker, ...], now: Load, least: PerRole[Load]) -> Load:
    """Calibrated upper quantile of each load, never below what is offered now nor `least`."""

    def ahead(tracker: Tracker, offered: float) -> float:
        upper = tracker.forecast.upper
        return offered if upper is None or math.isnan(upper) else max(upper, offered)

    prefill, tokens, steps = (
        max(ahead(tracker, load.value(now)), load.value(least[load.role]))
        for tracker, load in zip(trackers, LOADS, strict=True)
    )
    return Load(
        prefill_erlangs=prefill, decode_tokens_per_second=tokens, kv_token_steps_per_second=steps
    )
