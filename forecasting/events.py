"""Known future events: a campaign, a maintenance, a holiday, from a calendar that people write."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forecasting.series import Floats

COLUMNS = ("start", "end", "multiplier", "floor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """From start to end the load is `multiplier` times what it would be, and at least `floor`."""

    start_seconds: float
    end_seconds: float
    multiplier: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not self.start_seconds < self.end_seconds:
            raise ValueError("an event must end after it starts")
        if not (0 < self.multiplier < math.inf and 0 <= self.floor < math.inf):
            raise ValueError("multiplier must be above 0 and floor not below 0, both finite")


@dataclass(frozen=True, slots=True)
class Calendar:
    """Events; where some overlap, multipliers multiply and the highest floor holds."""

    events: tuple[Event, ...] = ()

    def multiplier(self, seconds: Floats) -> Floats:
        """Factor on the load at each of these times."""
        factor = np.ones(len(seconds))
        for event in self.events:
            factor[_during(event, seconds)] *= event.multiplier
        return factor

    def floor(self, seconds: Floats) -> float:
        """Highest floor at any of these times; 0 without one."""
        return max((e.floor for e in self.events if _during(e, seconds).any()), default=0.0)

    @classmethod
    def parse(cls, text: str) -> Calendar:
        """Read CSV with the header start,end,multiplier,floor; times in ISO 8601.

        An empty multiplier or floor is none; a time without an offset is UTC. ValueError names the
        line that is wrong.
        """
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        rows = csv.DictReader(lines)
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise ValueError(f"the first line must be {','.join(COLUMNS)}, not {lines[:1]}")
        return cls(tuple(_event(row, number) for number, row in enumerate(rows, start=1)))


NO_EVENTS = Calendar()


def _during(event: Event, seconds: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray((seconds >= event.start_seconds) & (seconds < event.end_seconds))


def _event(row: dict[str, str], number: int) -> Event:
    try:
        event = Event(
            start_seconds=_instant(row["start"]),
            end_seconds=_instant(row["end"]),
            multiplier=float(row["multiplier"] or 1.0),
            floor=float(row["floor"] or 0.0),
        )
        if event.multiplier == 1.0 and not event.floor:
            raise ValueError("neither a multiplier nor a floor")  # noqa: TRY301 - reported below
    except (TypeError, ValueError) as error:
        raise ValueError(f"event {number} ({','.join(map(str, row.values()))}): {error}") from error
    return event


def _instant(text: str) -> float:
    when = datetime.fromisoformat(text.strip())
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
