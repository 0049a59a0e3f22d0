"""What was advised lately: a change by hand that follows the advice is no disagreement with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Advice:
    """Counts advised for one pool, of the last `keep_seconds`."""

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._given: deque[tuple[float, int]] = deque()

    def give(self, replicas: int, now_seconds: float) -> None:
        """Remember an advice; the same one again is only the newer one."""
        if self._given and self._given[-1][1] == replicas:
            self._given.pop()
        self._given.append((now_seconds, replicas))

    def followed(self, before: Iterable[int], after: int, now_seconds: float) -> bool:
        """Whether a change from any of `before` goes to a recent advice, or part of the way.

        Advised to go from 4 to 8: 4 -> 8 and 4 -> 6 follow it; 4 -> 9 and 4 -> 3 do not.
        """
        oldest = now_seconds - self._keep_seconds
        while self._given and self._given[0][0] < oldest:
            self._given.popleft()
        return any(
            known < after <= advised or advised <= after < known
            for known in before
            for _, advised in self._given
        )
