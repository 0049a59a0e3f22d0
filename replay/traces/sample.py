"""The sample workload that ships: drawn from a formula, so there is no data file."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.synthesis import Load, synthesis_of
from replay.traces.trace import Trace

_DURATION_SECONDS = 3 * 3600.0
_NIGHT_PER_SECOND, _NOON_PER_SECOND = 0.25, 1.25
_BURSTS = ((2700.0, 150.0, 0.25), (6900.0, 90.0, 0.4), (8400.0, 240.0, 0.2))
"""Start, length in seconds and extra requests per second of each."""
_SHIFT_SECONDS, _SHIFT_WIDTH_SECONDS = 5400.0, 1200.0
_INPUT_TOKENS = (3000.0, 600.0)
_OUTPUT_TOKENS = (120.0, 480.0)


def sample_trace(seed: int = 0) -> Trace:
    """Three hours that stand for a day, about 8,300 requests.

    The rate rises from 0.25 requests/s at both ends to 1.25 in the middle. Three bursts of 1.5 to
    4 minutes add 0.2 to 0.4 requests/s, a fifth to a half, all at once. Over 20 minutes in the
    middle the traffic shifts from prefill-heavy (mean 3,000 input and 120 output tokens, as in code
    completion) to decode-heavy (600 and 480, as in chat), so the right ratio of prefill to decode
    replicas is another one after it. Lengths are lognormal (CV 1.0 and 0.8), arrivals Poisson, all
    by `seed`.
    """
    synthesis = synthesis_of(_load_at, _DURATION_SECONDS, cvs=(1.0, 0.8), seed=seed)
    return synthesis.trace("sample", "generated", (f"generated with seed {seed}",))


def _load_at(seconds: Floats) -> Load:
    height = (1 - np.cos(2 * np.pi * seconds / _DURATION_SECONDS)) / 2
    rate = _NIGHT_PER_SECOND + (_NOON_PER_SECOND - _NIGHT_PER_SECOND) * height
    for start, length, extra in _BURSTS:
        rate = rate + extra * ((seconds >= start) & (seconds < start + length))
    shifted = 1 / (1 + np.exp(-(seconds - _SHIFT_SECONDS) / (_SHIFT_WIDTH_SECONDS / 4)))
    return Load(
        rate,
        _INPUT_TOKENS[0] + (_INPUT_TOKENS[1] - _INPUT_TOKENS[0]) * shifted,
        _OUTPUT_TOKENS[0] + (_OUTPUT_TOKENS[1] - _OUTPUT_TOKENS[0]) * shifted,
    )
