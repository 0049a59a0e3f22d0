"""The load to be ready for: what will be offered by the time that a replica started now serves."""

from __future__ import annotations

import math

from forecasting.events import Calendar, Event
from forecasting.forecast import Mode
from forecasting.target import Target
from forecasting.tracker import ALWAYS, Tracker, TrackerSettings
from policies.config import ForecastSettings, PolicySettings
from policies.demand import LOADS, Followed, Load
from policies.level import Levels
from policies.types import LoadForecast, PerRole, Role


def follow(
    trackers: tuple[Tracker, ...], level: Load, settings: PolicySettings, now_seconds: float
) -> tuple[Tracker, ...]:
    """Show the load of now to the trackers, one for each of `LOADS`, in their order.

    Trackers kept under other settings carry their history over.
    """
    wanted = PerRole.of(lambda role: tracker_settings(settings, role))
    followed = []
    for i, (_, role, value) in enumerate(LOADS):
        tracker = trackers[i].under(wanted[role]) if trackers else Tracker.fresh(wanted[role])
        followed.append(tracker.update(now_seconds, value(level)))
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
        events=calendar(forecast),
    )


def calendar(settings: ForecastSettings) -> Calendar:
    """The known events as multipliers; their floors are in requests per second, see `floor`."""
    return Calendar(
        tuple(
            Event(
                start_seconds=event.start.timestamp(),
                end_seconds=event.end.timestamp(),
                multiplier=event.multiplier,
            )
            for event in settings.events
        )
    )


def told(trackers: tuple[Tracker, ...]) -> tuple[LoadForecast, ...]:
    """What each tracker says, for the record."""
    return tuple(_told(load.name, tracker) for load, tracker in zip(LOADS, trackers, strict=False))


def _told(load: str, tracker: Tracker) -> LoadForecast:
    forecast, settings = tracker.forecast, tracker.settings
    recent = tracker.history.values[-settings.target.last_step :].tolist()
    # Ticks further apart than cells leave some empty.
    seen = next((value for value in reversed(recent) if not math.isnan(value)), None)
    return LoadForecast(
        load=load,
        seen=seen,
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


# Times what is seen: the most to be ready for on the word of errors alone.
_MOST_WITHOUT_MODEL = 1.2

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


def _told_at_most(tracker: Tracker, seen: float, *, falling: bool) -> float:
    """Upper quantile, as far as there is evidence for it; 0 where nothing is forecast.

    One jump that nobody foresaw makes a whole window of forecasts too low, and the quantile of
    errors that remembers it would promise the same jump again for hours. Where no model has shown
    that it foresees anything, the promise stays near the load that is seen; while the load is off
    its path, or surely falls, nothing is promised beyond it.
    """
    forecast = tracker.forecast
    upper, centre = forecast.upper, forecast.centre
    if upper is None or centre is None or math.isnan(upper):
        return 0.0
    if forecast.mode is Mode.ENSEMBLE:
        return upper
    doubt = 1.0 if tracker.alertness.reactive or falling else _MOST_WITHOUT_MODEL
    return min(upper, doubt * max(centre, seen))


def outlook(trackers: tuple[Tracker, ...], seen: Levels, least: PerRole[Load]) -> Load:
    """Calibrated upper quantile of each load, never below what is seen now, or surely rises."""

    def most(tracker: Tracker, load: Followed) -> float:
        return max(
            _told_at_most(tracker, load.value(seen.now), falling=seen.falling[load.role]),
            *(load.value(at) for at in (seen.now, seen.ahead, least[load.role])),
        )

    prefill, tokens, steps = (
        most(tracker, load) for tracker, load in zip(trackers, LOADS, strict=True)
    )
    return Load(
        prefill_erlangs=prefill, decode_tokens_per_second=tokens, kv_token_steps_per_second=steps
    )
