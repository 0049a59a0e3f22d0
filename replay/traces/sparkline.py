"""A series as one line of text."""

from __future__ import annotations

from collections.abc import Sequence

_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float | None]) -> str:
    """Draw values from 0 to their maximum; unknown ones are spaces."""
    top = max((value for value in values if value is not None), default=0.0)
    return "".join(" " if value is None else _level(value, top) for value in values)


def _level(value: float, top: float) -> str:
    place = int(value / top * len(_LEVELS)) if top > 0 else 0
    return _LEVELS[min(place, len(_LEVELS) - 1)]
