"""Known events from a file that people keep in a spreadsheet."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from forecasting.events import Calendar
from planner.errors import UserError
from policies.config import KnownEvent


def read_events(path: Path) -> tuple[KnownEvent, ...]:
    """Read CSV with the header start,end,multiplier,floor; floors are requests per second.

    UserError names the event at fault.
    """
    try:
        calendar = Calendar.parse(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return tuple(
        KnownEvent(
            start=datetime.fromtimestamp(event.start_seconds, UTC),
            end=datetime.fromtimestamp(event.end_seconds, UTC),
            multiplier=event.multiplier,
            floor_requests_per_second=event.floor,
        )
        for event in calendar.events
    )
