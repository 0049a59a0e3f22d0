"""The only module that reads the time."""

from __future__ import annotations

import asyncio
import math
import time

# The wall clock may be set while we sleep, so it is read again at least this often.
_LONGEST_SLEEP_SECONDS = 30.0
# A clock that is being corrected loses milliseconds in a tick; one that was set back loses more.
_SET_BACK_SECONDS = 1.0


class WallClock:
    """Seconds since the Unix epoch."""

    def now_seconds(self) -> float:
        """Return the current time."""
        return time.time()

    async def sleep_until(self, seconds: float) -> None:
        """Return when `now_seconds` has reached `seconds`, or as much time has really passed.

        Set back by an hour in a sleep of 10 s, the clock reaches `seconds` an hour late, and the
        loop that ticks by it must not stand still for so long.
        """
        patience = seconds - self.now_seconds() + _SET_BACK_SECONDS
        watch = Stopwatch()
        while (left := seconds - self.now_seconds()) > 0:
            if watch.seconds >= patience:
                return
            await asyncio.sleep(min(left, patience - watch.seconds, _LONGEST_SLEEP_SECONDS))


class Stopwatch:
    """Real seconds since it was made, whatever happens to the wall clock."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._started


class AcceleratedClock:
    """Simulated seconds that pass `speed` times as fast as real ones; infinite: without waiting.

    Time moves only by `sleep_until`, so a slow machine makes a simulation longer, never different:
    at speed 60 the boundary at 120 s comes 2 s after the first sleep, or later.
    """

    def __init__(self, speed: float = math.inf, start_seconds: float = 0.0) -> None:
        if not speed > 0:
            raise ValueError(f"speed must be above 0, not {speed}")
        self._speed = speed
        self._start_seconds = start_seconds
        self._now_seconds = start_seconds
        self._since_start: Stopwatch | None = None

    def now_seconds(self) -> float:
        """Return the simulated time."""
        return self._now_seconds

    async def sleep_until(self, seconds: float) -> None:
        """Move the simulated time to `seconds`, at the pace of the speed."""
        self._since_start = self._since_start or Stopwatch()
        due = (seconds - self._start_seconds) / self._speed
        await asyncio.sleep(max(due - self._since_start.seconds, 0.0))
        self._now_seconds = max(self._now_seconds, seconds)
