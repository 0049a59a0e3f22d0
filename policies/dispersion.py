"""How bursty arrivals are, from counters on several pods, each read at its own times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Point = tuple[float, float]  # (time in seconds, value of the counter)

_REACH = 2  # intervals from one to those that it is compared with
_LEAST_BINS = 6  # of each counter, in the mean
_LEAST_ARRIVALS = 20.0
# A read that is missed leaves an interval of two steps, which tells as much as two.
_LONGEST_STEPS = 3.0
_LATE_STEPS = 1.5
_TOUCH_STEPS = 0.02
# More is a counter that jumps by what was counted elsewhere, not traffic.
MOST_DISPERSION = 1000.0


def dispersion(counters: Sequence[Sequence[Point]]) -> float | None:
    """Variance over mean of all arrivals together, in bins as long as the counters' steps.

    Each counter is its points in order of time. 1 is Poisson; a clump that is shorter than a bin
    counts in full, so a clump of n requests gives n whether bins are 5 or 30 s. An error of s
    seconds in the times of the points adds 2 s^2 rate / step.

    A load that moves is no burst. Two estimates compare each count with those two steps before and
    after it (one step further than the next, so that a clump across an edge counts nearly in full):

    - the square of the count less their mean, over 1.5, leaves out any straight line (von Neumann's
      successive differences, 1941), and takes a step of the load for a burst beside it;
    - the product of what it is above the one and above the other leaves out any step, since a count
      beside it stands above one of them only, and takes a slope for less than regular arrivals.

    Of the two, the one nearer to Poisson's 1 counts, and 1 where they lie on either side of it.
    Example: a Poisson stream of 25 a second that trebles at once, in bins of 15 s: 25 by the first,
    2 by the second, and 2.6 by both in the mean over chance. Clumps are told a tenth low.

    Pods share one stream but are read at different moments. Adding up each pod's own variance
    would take round-robin over n pods for arrivals n times as regular, and interpolating to
    common times would smooth. So the variance of the sum is the sum of the products of all pairs
    of counts whose intervals overlap, which no phase biases (Hayashi and Yoshida, Bernoulli 11,
    2005, for the covariance of two such processes).

    Counters that begin, end, fall or were not read for long change what the sum is of: only what
    all counted after the last such change is used. None with less than six bins or 20 arrivals
    of it. Never below 0 or above 1000.
    """
    tracks = [np.asarray(points, np.float64) for points in counters if len(points)]
    steps = [np.diff(track[:, 0]) for track in tracks]
    if not sum(map(len, steps)):
        return None
    step = float(np.median(np.concatenate(steps)))
    since = max(_changes(tracks, step))
    kept = [track[track[:, 0] >= since] for track in tracks if track[-1, 0] >= since]
    counted = _Counted(*map(np.concatenate, zip(*map(_counted, kept), strict=True)))
    arrivals = float(counted.counts.sum())
    if len(counted.counts) < _LEAST_BINS * len(kept) or arrivals < _LEAST_ARRIVALS:
        return None
    touch = _TOUCH_STEPS * step
    bent = (counted.above_before + counted.above_after) / 2
    on_a_line = counted.overlapping(bent, bent, touch) / (1 + 1 / 2)
    beside_a_step = counted.overlapping(counted.above_before, counted.above_after, touch)
    found = sorted((on_a_line / arrivals, beside_a_step / arrivals, 1.0))[1]
    return min(max(found, 0.0), MOST_DISPERSION)


def _changes(tracks: Sequence[Floats], step: float) -> Iterator[float]:
    """Times since which every counter goes on: each one's last restart, begin, end or gap."""
    begin = min(track[0, 0] for track in tracks)
    end = max(track[-1, 0] for track in tracks)
    yield begin
    for track in tracks:
        times, values = track.T
        if times[0] > begin + _LATE_STEPS * step:
            yield times[0]
        if times[-1] < end - _LATE_STEPS * step:
            yield times[-1] + step
        broken = (np.diff(values) < 0) | (np.diff(times) > _LONGEST_STEPS * step)
        yield from times[1:][broken][-1:]


class _Counted(NamedTuple):
    """Of each interval that has both its neighbours: when, how much, and how much above them."""

    starts: Floats
    ends: Floats
    counts: Floats
    above_before: Floats
    above_after: Floats

    def overlapping(self, ones: Floats, others: Floats, touch: float) -> float:
        """Sum of the products of all pairs of values whose intervals overlap by more than that.

        What overlaps an interval has started before its end and has not ended by its start. Reads
        of one round differ by milliseconds; to take the next interval for it would only add noise.
        """
        started = _before(self.starts, others, self.ends - touch, "left")
        near = started - _before(self.ends, others, self.starts + touch, "right")
        return float(ones @ near)


def _counted(track: Floats) -> _Counted:
    """Compare each interval with those before and after it, scaled to its length."""
    times, counts, lengths = track[:, 0], np.diff(track[:, 1]), np.diff(track[:, 0])
    if len(counts) <= 2 * _REACH:
        return _Counted(*[np.empty(0)] * 5)
    own = slice(_REACH, -_REACH)
    rates = counts / lengths
    before, after = (
        rates[side] * lengths[own] for side in (slice(-2 * _REACH), slice(2 * _REACH, None))
    )
    return _Counted(
        times[:-1][own], times[1:][own], counts[own], counts[own] - before, counts[own] - after
    )


def _before(
    times: Floats, values: Floats, limits: Floats, side: Literal["left", "right"]
) -> Floats:
    """Sum of the values whose time is before each limit; at it too where `side` is right."""
    order = np.argsort(times)
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    return sums[np.searchsorted(times[order], limits, side)]
