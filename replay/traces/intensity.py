"""How much work a trace is, in fully busy replicas: a rough measure, not the policy's model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from policies.config import Slo
from policies.profile import DecodeLaw, Profile
from policies.types import PerRole
from replay.requests import Floats, Requests
from replay.traces.shape import scale_rate
from replay.traces.trace import Trace, TraceError

_BUSY_FRACTION = 0.8
_KV_FRACTION = 0.9
_MAX_PASSES = 5
_PROBE_REQUESTS = 500_000
_CLOSE_ENOUGH = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Replica-equivalents of load in consecutive windows from the start of a trace."""

    window_seconds: float
    replicas: PerRole[Floats]

    @property
    def peak(self) -> PerRole[float]:
        """The window in which both roles together need most."""
        busiest = int(np.argmax(self.replicas.prefill + self.replicas.decode))
        return self.replicas.map(lambda series: float(series[busiest]))


def intensity(trace: Trace, profile: Profile, slo: Slo, window_seconds: float = 60.0) -> Intensity:
    """Measure the load of each window of arrivals; TraceError when there are none.

    Prefill: sum of the prompts' uncached prefill times over the window's length. Decode: output
    tokens per second over the tokens per second of a replica whose batch is as large as the ITL
    target and its KV memory allow, at the window's mean context. Answers count in the window in
    which their requests arrive.
    """
    meter = LoadMeter(profile, slo, window_seconds)
    for chunk in trace.chunks():
        meter.add(chunk)
    if not meter.windows:
        raise TraceError(f"trace {trace.name!r} holds no requests")
    return meter.reading()


class LoadMeter:
    """Adds up the work of requests in consecutive windows of their arrival."""

    def __init__(self, profile: Profile, slo: Slo, window_seconds: float) -> None:
        self._profile, self._slo, self._window_seconds = profile, slo, window_seconds
        # Per window: prefill seconds, output tokens, output tokens times their mean context.
        self._sums: Floats = np.zeros((0, 3))
        self.windows = 0

    def add(self, requests: Requests) -> None:
        """Count requests, which are in order of arrival and follow those added before."""
        if not len(requests):
            return
        window = (requests.arrival_seconds / self._window_seconds).astype(np.int64)
        first, self.windows = int(window[0]), int(window[-1]) + 1
        if self.windows > len(self._sums):
            grown = np.zeros((max(self.windows, 2 * len(self._sums)), 3))
            grown[: len(self._sums)] = self._sums
            self._sums = grown
        outputs, cached = requests.output_tokens, requests.cached_tokens
        context = outputs * (requests.input_tokens + outputs / 2)
        work = self._profile.prefill.seconds(requests.input_tokens - cached, cached)
        for column, values in enumerate((work, outputs, context)):
            sums = np.bincount(window - first, weights=values)
            self._sums[first : self.windows, column] += sums

    def reading(self) -> Intensity:
        """The load so far."""
        work_seconds, tokens, context_tokens = self._sums[: self.windows].T
        context = context_tokens / np.maximum(tokens, 1)
        per_token = _seconds_per_token(self._profile.decode, self._slo, context)
        return Intensity(
            window_seconds=self._window_seconds,
            replicas=PerRole(
                prefill=work_seconds / self._window_seconds,
                decode=tokens / self._window_seconds * per_token,
            ),
        )


def peak_load(
    trace: Trace, profile: Profile, slo: Slo, window_seconds: float = 60.0
) -> PerRole[float]:
    """Replica-equivalents of the busiest window."""
    return intensity(trace, profile, slo, window_seconds).peak


def auto_rate_scale(
    trace: Trace, profile: Profile, slo: Slo, target_replicas: float = 12.0
) -> float:
    """Find the factor at which the peak minute needs about `target_replicas`, both roles together.

    Replicas are taken to be 80% busy. The factor has two digits, so that it can be printed and
    typed again; it is below 1 for a trace that needs more replicas than that. A trace that is made
    again at the new rate is measured again, because its busiest minute is partly chance.
    """
    factor = min(1.0, _PROBE_REQUESTS / (trace.expected_requests or 1.0))
    for _ in range(_MAX_PASSES if trace.rescaled else 1):
        needed = sum(peak_load(scale_rate(trace, factor), profile, slo)) / _BUSY_FRACTION
        factor *= target_replicas / needed
        if abs(needed / target_replicas - 1) < _CLOSE_ENOUGH:
            break
    return float(f"{factor:.2g}")


def _seconds_per_token(law: DecodeLaw, slo: Slo, context_tokens: Floats) -> Floats:
    """Replica-seconds that one output token costs in the largest batch allowed."""
    context = np.maximum(context_tokens, 1.0)
    per_sequence = law.seconds_per_sequence + law.seconds_per_context_token * context
    room = max(slo.itl_seconds - law.base_seconds, 0.0)
    by_itl = room / np.maximum(per_sequence, math.ulp(1.0))
    by_memory = _KV_FRACTION * law.kv_capacity_tokens / context
    batch = np.clip(np.minimum(by_itl, by_memory), 1.0, law.max_sequences)
    return np.asarray((law.base_seconds + per_sequence * batch) / batch)
