"""A short history of scraped series, kept in memory."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator

Labels = frozenset[tuple[str, str]]
Point = tuple[float, float]  # (time in seconds, value)

# A value may be this old and still be the present one, as in Prometheus.
LOOKBACK_SECONDS = 300.0


class History:
    """Series by metric name; each forgets what is older than `keep_seconds`.

    A series that was not in the latest scrape of its target has ended: it has no present value,
    but what it was counts for rates while it is inside their window.
    """

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._series: dict[str, dict[Labels, deque[Point]]] = defaultdict(dict)
        self._of_target: dict[str, set[tuple[str, Labels]]] = {}
        self._forgot_at_seconds: float | None = None

    def record(
        self, target: str, at_seconds: float, samples: Iterable[tuple[str, Labels, float]]
    ) -> None:
        """Take one scrape of a target; an empty one ends all its series."""
        present = set()
        for name, labels, value in samples:
            present.add((name, labels))
            points = self._series[name].setdefault(labels, deque())
            while points and points[-1][0] > at_seconds:  # the clock was set back
                points.pop()
            if not points or points[-1][0] < at_seconds:
                points.append((at_seconds, value))
        self._of_target[target] = present
        if at_seconds != self._forgot_at_seconds:  # once for all targets: it walks every series
            self._forget(at_seconds)
            self._forgot_at_seconds = at_seconds

    def retain(self, targets: Iterable[str]) -> None:
        """End the series of every other target."""
        self._of_target = {name: self._of_target.get(name, set()) for name in targets}

    def _forget(self, now_seconds: float) -> None:
        oldest = now_seconds - self._keep_seconds
        for series in self._series.values():
            for labels in [labels for labels, points in series.items() if points[-1][0] < oldest]:
                del series[labels]
            for points in series.values():
                while points[0][0] < oldest:
                    points.popleft()

    def latest(
        self, name: str, keep: Callable[[Labels], bool], at_seconds: float
    ) -> Iterator[tuple[Labels, Point]]:
        """Yield the present point of every series that has one."""
        live = {key for keys in self._of_target.values() for key in keys}
        for labels, points in self._series.get(name, {}).items():
            if (name, labels) not in live or not keep(labels):
                continue
            newest = points[-1]
            if at_seconds - LOOKBACK_SECONDS < newest[0] <= at_seconds:
                yield labels, newest

    def within(
        self, name: str, keep: Callable[[Labels], bool], after_seconds: float, until_seconds: float
    ) -> Iterator[tuple[Labels, list[Point]]]:
        """Yield each series' points in (after, until], where there are any."""
        for labels, points in self._series.get(name, {}).items():
            if keep(labels):
                found = [p for p in points if after_seconds < p[0] <= until_seconds]
                if found:
                    yield labels, found
