"""What a trace asks for, window by window, and the pairs that follow."""

import numpy as np
import pytest

from policies.config import PolicySettings
from policies.demand import prefill_seconds
from policies.profile import builtin
from policies.types import PerRole
from replay.requests import Requests
from replay.sizing import initial_pair, offered, peak_pair
from replay.traces import TraceError, of_requests

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
SETTINGS = PolicySettings()


def trace(*parts):
    """Parts of (first second, last second, requests/s, input tokens, output tokens)."""
    pieces = []
    for start, end, rate, prompt, output in parts:
        times = np.arange(start, end, 1 / rate)
        pieces.append(Requests.of(times, np.full(len(times), prompt), np.full(len(times), output)))
    return of_requests("made", Requests.concat(pieces))


def test_windows_hold_the_work_that_arrives_in_them():
    seen = offered(trace((0, 60, 10, 2000.0, 10.0), (60, 120, 20, 500.0, 10.0)), PROFILE, SETTINGS)
    assert seen.requests.tolist() == [600, 1200]
    expected = [
        10 * prefill_seconds(PROFILE.prefill, 2000.0),
        20 * prefill_seconds(PROFILE.prefill, 500.0),
    ]
    assert seen.prefill_erlangs == pytest.approx(expected)
    assert seen.decode_tokens_per_second == pytest.approx([100.0, 200.0])
    assert seen.kv_token_steps_per_second == pytest.approx([100 * 2005.0, 200 * 505.0])


def test_long_answers_are_decoded_over_the_time_they_reside():
    # 2400 tokens at 50 ms stay for two windows.
    seen = offered(
        trace((0, 60, 1, 100.0, 2400.0), (60, 180, 0.1, 100.0, 2400.0)), PROFILE, SETTINGS
    )
    assert seen.decode_tokens_per_second[0] == pytest.approx(1200.0)
    assert seen.decode_tokens_per_second[1] == pytest.approx(1200.0 + 120.0)


def test_the_peak_is_taken_of_each_load_on_its_own():
    both = trace((0, 60, 10, 4000.0, 10.0), (60, 120, 10, 100.0, 400.0))
    peak = offered(both, PROFILE, SETTINGS).peak_demand().load
    assert peak.prefill_erlangs == pytest.approx(10 * prefill_seconds(PROFILE.prefill, 4000.0))
    assert peak.decode_tokens_per_second == pytest.approx(4000.0)


def test_chunks_do_not_matter():
    whole = trace((0, 300, 30, 1000.0, 100.0))
    parts = next(whole.chunks())
    rows = [parts.take(slice(i, i + 7)) for i in range(0, len(parts), 7)]
    split = whole.through(lambda _: iter(rows), "split")
    assert peak_pair(whole, PROFILE, SETTINGS) == peak_pair(split, PROFILE, SETTINGS)


def test_the_initial_pair_knows_the_first_minutes_alone():
    grows = trace((0, 300, 10, 1000.0, 100.0), (300, 600, 400, 1000.0, 100.0))
    calm = trace((0, 600, 10, 1000.0, 100.0))
    assert initial_pair(grows, PROFILE, SETTINGS) == initial_pair(calm, PROFILE, SETTINGS)
    assert peak_pair(grows, PROFILE, SETTINGS).prefill > 4


def test_a_trace_that_begins_with_silence_begins_with_the_minimum():
    late = trace((400, 500, 100, 1000.0, 100.0))
    assert initial_pair(late, PROFILE, SETTINGS) == PerRole(1, 1)


def test_a_trace_without_requests_is_an_error():
    with pytest.raises(TraceError, match="'empty' holds no requests"):
        offered(of_requests("empty", Requests.of((), (), ())), PROFILE, SETTINGS)
