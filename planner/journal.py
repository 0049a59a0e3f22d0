"""The recent past of the loop: what it saw, found and decided, tick by tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from planner.front_end import RouterTick
from planner.ports import WriteFailure
from policies.router import NAME
from policies.types import Decision, Observation, Pools


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One tick. `applied` is False in advise mode and on a hold.

    `router` is the front end's turn, where there is one. `took_seconds` is real time, reading the
    ports and writing included; None when not measured.
    """

    observation: Observation
    pools: Pools
    decision: Decision
    applied: bool = False
    failures: tuple[WriteFailure, ...] = ()
    router: RouterTick | None = None
    took_seconds: float | None = None

    @property
    def write_failures(self) -> dict[str, str]:
        """Why a count was not written, by the pool's name: prefill, decode or router."""
        failures = {str(failure.role): failure.why for failure in self.failures}
        if self.router and self.router.failure is not None:
            failures[NAME] = self.router.failure
        return failures


class Journal:
    """The last `limit` records, newest last."""

    def __init__(self, limit: int = 2880) -> None:
        self._records: deque[Record] = deque(maxlen=limit)

    def append(self, record: Record) -> None:
        """Add the newest record; the oldest falls out when full."""
        self._records.append(record)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def last(self) -> Record | None:
        """The newest record; None before the first tick."""
        return self._records[-1] if self._records else None
