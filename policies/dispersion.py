"""How bursty arrivals are, from counters on several pods, each read at its own times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

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
MOST_DISPERSION = 100.0


def dispersion(counters: Sequence[Sequence[Point]]) -> float | None:
    """Variance over mean of all arrivals together, in bins as long as the counters' steps.

    Each counter is its points in order of time. 1 is Poisson; a clump that is shorter than a bin
    counts in full, so a clump of n requests gives n whether bins are 5 or 15 s. Where bursts last
    longer than a bin the index grows with the bin: a live source with scrapes every 15 s then
    reads more than the replay does in its `DISPERSION_BIN_SECONDS`. An error of s seconds in the
    times of the points adds 2 s^2 rate / step.

    A trend is no burst. A count is taken less the mean of those two steps before and after it,
    which leaves out any straight line: von Neumann's successive differences (1941), a step wider
    so that a clump across an edge counts nearly in full. That difference has the variance of 1.5
    counts.

    Pods share one stream but are read at different moments. Adding up each pod's own variance
    would take round-robin over n pods for arrivals n times as regular, and interpolating to
    common times would smooth. So the variance of the sum is the sum of the products of all pairs
    of counts whose intervals overlap, which no phase biases (Hayashi and Yoshida, Bernoulli 11,
    2005, for the covariance of two such processes).

    Counters that begin, end, fall or were not read for long change what the sum is of: only what
    all counted after the last such change is used. None with less than six bins or 20 arrivals
    of it. Never below 0 or above 100.
    """
    tracks = [np.asarray(points, np.float64) for points in counters if len(points)]
    steps = [np.diff(track[:, 0]) for track in tracks]
    if not sum(map(len, steps)):
        return None
    step = float(np.median(np.concatenate(steps)))
    since = max(_changes(tracks, step))
    kept = [track[track[:, 0] >= since] for track in tracks if track[-1, 0] >= since]
    starts, ends, counts, surprises = map(np.concatenate, zip(*map(_surprises, kept), strict=True))
    arrivals = float(counts.sum())
    if len(counts) < _LEAST_BINS * len(kept) or arrivals < _LEAST_ARRIVALS:
        return None
    # What overlaps an interval has started before its end and has not ended by its start. Reads of
    # one round differ by milliseconds; to take the next interval for it would only add noise.
    touch = _TOUCH_STEPS * step
    started = _before(starts, surprises, ends - touch, "left")
    near = started - _before(ends, surprises, starts + touch, "right")
    return min(max(float(surprises @ near) / arrivals, 0.0), MOST_DISPERSION)


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


def _surprises(track: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Start, end, count and surprise of each interval that has both its neighbours.

    The surprise is the count less its neighbours', scaled to the variance of a count alone.
    """
    counts, lengths = np.diff(track[:, 1]), np.diff(track[:, 0])
    if len(counts) <= 2 * _REACH:
        nothing = np.empty(0)
        return nothing, nothing, nothing, nothing
    own = slice(_REACH, -_REACH)
    before, after = slice(None, -2 * _REACH), slice(2 * _REACH, None)
    share = lengths[own] / (lengths[before] + lengths[after])
    surprises = (counts[own] - share * (counts[before] + counts[after])) / np.sqrt(1 + share)
    times = track[:, 0]
    return times[:-1][own], times[1:][own], counts[own], surprises


def _before(
    times: Floats, values: Floats, limits: Floats, side: Literal["left", "right"]
) -> Floats:
    """Sum of the values whose time is before each limit; at it too where `side` is right."""
    order = np.argsort(times)
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    return sums[np.searchsorted(times[order], limits, side)]
