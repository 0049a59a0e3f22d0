"""Shapes of synthetic traffic: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from replay.traces.shapes import (
    bursts,
    diurnal,
    drift,
    flash_crowd,
    ratio_shift,
    steady,
    steps,
    weekly,
)
from replay.traces.shapes.traffic import DAY_SECONDS, HOUR_SECONDS, Traffic
from replay.traces.synthesis import LoadAt, synthesis_of
from replay.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Shape:
    """How traffic changes over time, how long it usually lasts, and what it is in one line."""

    load: Callable[[Traffic], LoadAt]
    duration_seconds: float
    summary: str


SHAPES: dict[str, Shape] = {
    "steady": Shape(steady.load, HOUR_SECONDS, "one rate, as the zero of a comparison"),
    "diurnal": Shape(diurnal.load, DAY_SECONDS, "a day: a quarter of the rate at 04:00"),
    "weekly": Shape(weekly.load, 7 * DAY_SECONDS, "days from Monday on, at 40% on the weekend"),
    "bursts": Shape(bursts.load, 6 * HOUR_SECONDS, "bursts at random times, 1 to 10 minutes long"),
    "flash-crowd": Shape(flash_crowd.load, 2 * HOUR_SECONDS, "six times the rate in one minute"),
    "ratio-shift": Shape(ratio_shift.load, 2 * HOUR_SECONDS, "prefill-heavy, then decode-heavy"),
    "drift": Shape(drift.load, DAY_SECONDS, "the rate triples while answers double in length"),
    "steps": Shape(steps.load, 2 * HOUR_SECONDS, "six levels, up and down"),
}


def shaped_trace(name: str, traffic: Traffic) -> Trace:
    """Draw the shape `name`, a key of SHAPES."""
    synthesis = synthesis_of(
        SHAPES[name].load(traffic), traffic.duration_seconds, seed=traffic.seed
    )
    return synthesis.trace(name, "generated", (f"generated with seed {traffic.seed}",))
