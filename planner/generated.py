"""Series drawn by seed, as a test that no recorded series can be: nothing was chosen on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forecasting.series import Series
from planner.recorded import Recorded
from replay.requests import Floats
from replay.traces.shapes import SHAPES
from replay.traces.shapes.traffic import DAY_SECONDS, HOUR_SECONDS, Traffic

_PER_SECOND = 20.0
_LASTS: dict[str, tuple[float, float]] = {
    "steady": (2 * HOUR_SECONDS, 10.0),
    "diurnal": (8 * DAY_SECONDS, 600.0),
    "weekly": (28 * DAY_SECONDS, 3600.0),
    "bursts": (18 * HOUR_SECONDS, 60.0),
    "flash-crowd": (2 * HOUR_SECONDS, 10.0),
    "drift": (DAY_SECONDS, 120.0),
    "steps": (6 * HOUR_SECONDS, 30.0),
}
"""Shapes whose rate varies as their name says: how long each lasts, and its cells, in seconds."""


def generated(seed: int) -> Iterator[Recorded]:
    """Shapes of traffic and three regimes that shapes do not have, in requests per second."""
    for name, (lasts, cell) in _LASTS.items():
        traffic = Traffic(
            requests_per_second=_PER_SECOND,
            input_tokens=1.0,
            output_tokens=1.0,
            duration_seconds=lasts,
            seed=seed,
        )
        starts = np.arange(0.0, lasts, cell)
        rates = SHAPES[name].load(traffic)(starts + cell / 2).requests_per_second
        yield _drawn(f"generated:{name}", rates, cell, seed)
    yield from _regimes(seed)


def _regimes(seed: int) -> Iterator[Recorded]:
    """A walk, a day that ends, and noise that grows fivefold; a thousand cells of ten minutes."""
    cells = np.arange(1000)
    early = cells < len(cells) // 2
    random = np.random.default_rng((seed, 2))
    day = 1 + 0.5 * np.sin(2 * np.pi * cells * 600 / DAY_SECONDS)
    walk = np.exp(np.cumsum(0.04 * random.standard_normal(len(cells))))
    noise = np.exp(np.where(early, 0.1, 0.5) * random.standard_normal(len(cells)))
    for name, shape in (
        ("walk", walk),
        ("the-day-ends", np.where(early, day, 1.0)),
        ("noise-grows", noise),
    ):
        yield _drawn(f"generated:{name}", _PER_SECOND * shape, 600.0, seed)


def _drawn(name: str, rates: Floats, cell: float, seed: int) -> Recorded:
    """Poisson counts, as rates."""
    counts = np.random.default_rng((seed, 3)).poisson(rates * cell)
    return Recorded(name, Series(0.0, cell, counts / cell))
