"""What a trace is like: its rate, its burstiness, its lengths, and what they ask of each role."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.config import Slo
from policies.profile import Profile
from policies.types import PerRole
from replay.requests import Floats
from replay.traces.intensity import LoadMeter
from replay.traces.trace import Trace, TraceError

_DISPERSION_SECONDS = (1, 10, 60)
_METER_SECONDS = 10.0
_LONGEST_TOKENS = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSurvey:
    """Percentiles of a length, exact to the token."""

    mean: float
    p50: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A trace at a glance, under a profile and an objective.

    `interarrival_cv` is 1 for independent arrivals, and so is the index of dispersion (variance
    over mean of the arrivals per 1, 10 and 60 s), which slow changes of the rate raise as well.
    Series have one value per window of `window_seconds`; the P:D ratio is None in a window
    without decode load.
    """

    requests: int
    duration_seconds: float
    requests_per_second: float
    peak_minute_per_second: float
    interarrival_cv: float | None
    dispersion: dict[int, float]
    input_tokens: TokenSurvey
    output_tokens: TokenSurvey
    cached_fraction: float
    peak_replicas: PerRole[float]
    window_seconds: float
    rate_series: tuple[float, ...]
    load_series: PerRole[tuple[float, ...]]
    p_d_ratio_series: tuple[float | None, ...]
    p_d_ratio: float | None


class _Histogram:
    """Counts of whole lengths."""

    def __init__(self) -> None:
        self._counts = np.zeros(0, dtype=np.int64)

    def add(self, tokens: Floats) -> None:
        whole = np.minimum(tokens, _LONGEST_TOKENS).astype(np.int64)
        counts = np.bincount(whole, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def survey(self) -> TokenSurvey:
        up_to = np.cumsum(self._counts)
        p50, p95, p99 = (int(np.searchsorted(up_to, q * up_to[-1])) for q in (0.5, 0.95, 0.99))
        mean = float(np.arange(len(up_to)) @ self._counts / up_to[-1])
        return TokenSurvey(mean=mean, p50=p50, p95=p95, p99=p99, max=len(up_to) - 1)


class _Arrivals:
    """Gaps between arrivals, and arrivals per second."""

    def __init__(self) -> None:
        self.per_second = np.zeros(0, dtype=np.int64)
        self.rows = 0
        self.last_seconds = 0.0
        self._first_seconds = 0.0
        self._squared_gaps = 0.0

    def add(self, arrivals: Floats) -> None:
        before = self.last_seconds if self.rows else float(arrivals[0])
        if not self.rows:
            self._first_seconds = before
        self._squared_gaps += float(np.sum(np.diff(arrivals, prepend=before) ** 2))
        self.rows += len(arrivals)
        self.last_seconds = float(arrivals[-1])
        seconds = arrivals.astype(np.int64)
        if seconds[-1] >= len(self.per_second):
            grown = np.zeros(max(int(seconds[-1]) + 1, 2 * len(self.per_second)), dtype=np.int64)
            grown[: len(self.per_second)] = self.per_second
            self.per_second = grown
        start = int(seconds[0])
        self.per_second[start : int(seconds[-1]) + 1] += np.bincount(seconds - start)

    def gap_cv(self) -> float | None:
        gaps = self.rows - 1
        mean = (self.last_seconds - self._first_seconds) / gaps if gaps > 0 else 0.0
        if mean == 0:
            return None
        return math.sqrt(max(self._squared_gaps / gaps / mean**2 - 1, 0.0))

    def counts(self, seconds: int) -> NDArray[np.int64]:
        """Arrivals in whole windows of so many seconds; the last may be a part of one."""
        used = self.per_second[: int(self.last_seconds) + 1]
        padded = np.pad(used, (0, -len(used) % seconds))
        return np.asarray(padded.reshape(-1, seconds).sum(axis=1))


def survey(trace: Trace, profile: Profile, slo: Slo, *, windows: int = 72) -> Survey:
    """Read a trace once; TraceError when it holds no requests. Series have about `windows` values.

    Memory grows with the seconds and the lengths that occur, not with the requests.
    """
    arrivals, inputs, outputs = _Arrivals(), _Histogram(), _Histogram()
    meter = LoadMeter(profile, slo, _METER_SECONDS)
    cached = 0.0
    for chunk in trace.chunks():
        if len(chunk):
            arrivals.add(chunk.arrival_seconds)
            inputs.add(chunk.input_tokens)
            outputs.add(chunk.output_tokens)
            meter.add(chunk)
            cached += float(chunk.cached_tokens.sum())
    if not arrivals.rows:
        raise TraceError(f"trace {trace.name!r} holds no requests")
    duration = arrivals.last_seconds
    window = max(_METER_SECONDS, math.ceil(duration / windows / _METER_SECONDS) * _METER_SECONDS)
    load = meter.reading().replicas.map(lambda series: _averaged(series, int(window / 10)))
    minutes = arrivals.counts(60)
    means = inputs.survey(), outputs.survey()
    totals = load.map(lambda series: float(series.sum()))
    return Survey(
        requests=arrivals.rows,
        duration_seconds=duration,
        requests_per_second=arrivals.rows / max(duration, 1.0),
        peak_minute_per_second=float(minutes.max()) / 60,
        interarrival_cv=arrivals.gap_cv(),
        dispersion={
            seconds: float(counts.var() / counts.mean())
            for seconds in _DISPERSION_SECONDS
            if len(counts := arrivals.counts(seconds)) > 1
        },
        input_tokens=means[0],
        output_tokens=means[1],
        cached_fraction=cached / max(means[0].mean * arrivals.rows, 1.0),
        peak_replicas=_peak(meter),
        window_seconds=window,
        rate_series=tuple((arrivals.counts(int(window)) / window).tolist()),
        load_series=load.map(lambda series: tuple(series.tolist())),
        p_d_ratio_series=tuple(map(_ratio, load.prefill.tolist(), load.decode.tolist())),
        p_d_ratio=_ratio(*totals),
    )


def _ratio(prefill: float, decode: float) -> float | None:
    return prefill / decode if decode > 0 else None


def _averaged(series: Floats, group: int) -> Floats:
    return np.asarray(np.pad(series, (0, -len(series) % group)).reshape(-1, group).mean(axis=1))


def _peak(meter: LoadMeter) -> PerRole[float]:
    minutes = meter.reading().replicas.map(lambda series: _averaged(series, 6))
    busiest = int(np.argmax(minutes.prefill + minutes.decode))
    return minutes.map(lambda series: float(series[busiest]))
