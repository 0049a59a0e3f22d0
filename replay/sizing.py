"""What a trace asks for over time, and the pairs that follow from it before any run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from policies.config import PolicySettings
from policies.coupling import solve
from policies.demand import DISPERSION_BIN_SECONDS, Demand, Load, Shape
from policies.lengths import Lengths
from policies.profile import Profile
from policies.types import PerRole
from replay.requests import Floats, Requests
from replay.traces import Trace, TraceError

WINDOW_SECONDS = 60.0
FIRST_SECONDS = 300.0  # what a fleet is taken to be sized for when a run begins

# Lengths are counted in bins 1.41 times as wide as the one below, up to 262,144 tokens.
_EDGES = np.geomspace(16.0, 2.0**18, 29)
_BINS = len(_EDGES) + 1
_PROMPTS = 6  # columns before the counts of prompts by length


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """The work that arrives in consecutive windows; all columns have one row per window.

    Decode work is spread over the time that requests reside there at the ITL objective, because
    that is when it must be done. `prompt_counts[w, b]` counts window w's prompts in length bin b,
    `output_counts` its answers.
    """

    window_seconds: float
    requests: Floats
    prefill_erlangs: Floats
    decode_tokens_per_second: Floats
    kv_token_steps_per_second: Floats
    prompt_tokens: Floats
    prompt_counts: Floats
    output_tokens: Floats
    output_counts: Floats
    prefix_hit_fraction: float
    arrival_dispersion: float

    def __len__(self) -> int:
        return len(self.requests)

    def load(self, window: int) -> Load:
        """The work of one window."""
        return self._peak(slice(window, window + 1))

    def peak_demand(self, windows: slice = slice(None)) -> Demand:
        """The largest of each load over some windows, each on its own, and the requests' shape."""
        shape = self._shape(windows)
        return Demand(
            load=self._peak(windows),
            shape=shape,
            arrival_dispersion=self.arrival_dispersion,
            kv_held_factor=shape.promised_factor,  # as the plant reserves, unless told otherwise
        )

    def _peak(self, windows: slice) -> Load:
        return Load(
            prefill_erlangs=float(self.prefill_erlangs[windows].max()),
            decode_tokens_per_second=float(self.decode_tokens_per_second[windows].max()),
            kv_token_steps_per_second=float(self.kv_token_steps_per_second[windows].max()),
        )

    def _shape(self, windows: slice) -> Shape:
        requests = float(self.requests[windows].sum())
        if requests == 0:
            windows, requests = slice(None), float(self.requests.sum())
        return Shape(
            prompt_tokens=_lengths(self.prompt_counts[windows], self.prompt_tokens[windows]),
            prefix_hit_fraction=self.prefix_hit_fraction,
            output_tokens=_lengths(self.output_counts[windows], self.output_tokens[windows]),
        )


def _lengths(counts: Floats, tokens: Floats) -> Lengths:
    """Lengths of some windows, by their counts in bins and their sum."""
    total = counts.sum(axis=0)
    mean = float(tokens.sum() / max(total.sum(), 1.0))
    lengths = Lengths.from_buckets([*_EDGES.tolist(), math.inf], total.tolist(), mean)
    return lengths or Lengths((1.0,), (1.0,))


def offered(
    trace: Trace,
    profile: Profile,
    settings: PolicySettings,
    *,
    until_seconds: float = math.inf,
    window_seconds: float = WINDOW_SECONDS,
) -> Offered:
    """Measure a trace in one pass, in memory bounded by its windows.

    TraceError when no request arrives before `until_seconds`.
    """
    sums = np.zeros((0, _PROMPTS + 2 * _BINS))
    arrivals = np.zeros(0)
    for chunk in _until(trace.chunks(), until_seconds):
        sums = _add(sums, chunk, profile, window_seconds)
        arrivals = _count(arrivals, chunk.arrival_seconds)
    requests = sums[:, 0]
    if not requests.sum():
        before = f" before {until_seconds:g} s" * math.isfinite(until_seconds)
        raise TraceError(f"trace {trace.name!r} holds no requests{before}")
    output_mean = float(sums[:, 2].sum() / requests.sum())
    stay_windows = max(1, round(output_mean * settings.slo.itl_seconds / window_seconds))
    prompt_tokens = sums[:, 4]
    return Offered(
        window_seconds=window_seconds,
        requests=requests,
        prefill_erlangs=sums[:, 1] / window_seconds,
        decode_tokens_per_second=_spread(sums[:, 2], stay_windows) / window_seconds,
        kv_token_steps_per_second=_spread(sums[:, 3], stay_windows) / window_seconds,
        prompt_tokens=prompt_tokens,
        prompt_counts=sums[:, _PROMPTS : _PROMPTS + _BINS],
        output_tokens=sums[:, 2],
        output_counts=sums[:, _PROMPTS + _BINS :],
        prefix_hit_fraction=float(sums[:, 5].sum() / max(prompt_tokens.sum(), 1.0)),
        arrival_dispersion=_dispersion(arrivals),
    )


def initial_pair(trace: Trace, profile: Profile, settings: PolicySettings) -> PerRole[int]:
    """Find the pair that the busiest of the first five minutes needs: where every policy starts."""
    try:
        first = offered(trace, profile, settings, until_seconds=FIRST_SECONDS)
    except TraceError:  # a trace that begins with silence
        return settings.roles.map(lambda role: role.min_replicas)
    return solve(first.peak_demand(), profile, settings).replicas


def peak_pair(trace: Trace, profile: Profile, settings: PolicySettings) -> PerRole[int]:
    """Find the pair that the peak of each load over the whole trace needs, in hindsight."""
    return solve(offered(trace, profile, settings).peak_demand(), profile, settings).replicas


def _until(chunks: Iterable[Requests], seconds: float) -> Iterator[Requests]:
    for chunk in chunks:
        before = int(np.searchsorted(chunk.arrival_seconds, seconds))
        yield chunk.take(slice(before))
        if before < len(chunk):
            return


def _add(sums: Floats, chunk: Requests, profile: Profile, window_seconds: float) -> Floats:
    if not len(chunk):
        return sums
    window = (chunk.arrival_seconds / window_seconds).astype(np.int64)
    rows = int(window[-1]) + 1
    if rows > len(sums):
        sums = np.concatenate([sums, np.zeros((rows - len(sums), sums.shape[1]))])
    prompts, outputs = chunk.input_tokens, chunk.output_tokens
    seconds = profile.prefill.seconds(prompts - chunk.cached_tokens, chunk.cached_tokens)
    columns = (
        *(np.ones(len(chunk)), seconds, outputs),
        *(outputs * (prompts + outputs / 2), prompts, chunk.cached_tokens),
    )
    for column, values in enumerate(columns):
        sums[:, column] += np.bincount(window, weights=values, minlength=len(sums))
    for first, lengths in ((_PROMPTS, prompts), (_PROMPTS + _BINS, outputs)):
        np.add.at(sums, (window, first + np.searchsorted(_EDGES, lengths)), 1.0)
    return sums


def _count(arrivals: Floats, seconds: Floats) -> Floats:
    """Add a chunk's arrivals to the counts per bin."""
    bins = (seconds / DISPERSION_BIN_SECONDS).astype(np.int64)
    length = max(len(arrivals), int(bins.max(initial=-1)) + 1)
    counts = np.zeros(length)
    counts[: len(arrivals)] = arrivals
    counts += np.bincount(bins, minlength=length)
    return counts


def _dispersion(arrivals: Floats) -> float:
    """Variance over mean of the counts, within a minute at a time as the meter sees it."""
    bins = int(WINDOW_SECONDS / DISPERSION_BIN_SECONDS)
    minutes = arrivals[: len(arrivals) // bins * bins].reshape(-1, bins)
    minutes = minutes[minutes.sum(axis=1) > 0]
    if not len(minutes):
        return 1.0
    return float((minutes.var(axis=1, ddof=1) / minutes.mean(axis=1)).mean())


def _spread(values: Floats, windows: int) -> Floats:
    """Spread each window's work evenly over itself and the `windows - 1` after it."""
    return np.convolve(values, np.full(windows, 1 / windows))[: len(values)]
