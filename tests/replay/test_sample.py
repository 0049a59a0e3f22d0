"""The sample workload, and how much load a trace is."""

from __future__ import annotations

import numpy as np
import pytest

from policies.config import Slo
from policies.profile import builtin
from replay.requests import Requests
from replay.traces import TraceError, of_requests
from replay.traces.intensity import auto_rate_scale, intensity, peak_load
from replay.traces.sample import sample_trace
from replay.traces.shape import scale_rate

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")


def whole(seed: int = 0) -> Requests:
    return Requests.concat(sample_trace(seed).chunks())


def test_the_sample_is_the_same_for_a_seed_and_another_for_another() -> None:
    assert np.array_equal(whole().arrival_seconds, whole().arrival_seconds)
    assert not np.array_equal(whole(0).input_tokens[:100], whole(1).input_tokens[:100])


def test_the_sample_is_three_hours_of_a_compressed_day() -> None:
    arrivals = whole().arrival_seconds
    assert 0 <= arrivals[0] < 60
    assert 10_700 < arrivals[-1] < 10_800
    per_minute = np.bincount((arrivals / 60).astype(int), minlength=180) / 60
    night, noon = per_minute[:15].mean(), per_minute[75:105].mean()
    assert 3 < noon / night < 6
    assert 1 < np.percentile(per_minute, 95) < 2.2


def test_the_sample_has_bursts() -> None:
    per_minute = np.bincount((whole().arrival_seconds / 60).astype(int), minlength=180)
    assert per_minute[45:47].mean() > 1.2 * np.r_[per_minute[40:44], per_minute[49:53]].mean()


def test_the_sample_shifts_from_prefill_heavy_to_decode_heavy() -> None:
    requests = whole()
    before = requests.take(requests.arrival_seconds < 4200)
    after = requests.take(requests.arrival_seconds > 6600)
    assert before.input_tokens.mean() == pytest.approx(3000, rel=0.06)
    assert after.output_tokens.mean() == pytest.approx(480, rel=0.06)
    load = intensity(sample_trace(), PROFILE, Slo()).replicas
    ratios = load.prefill / load.decode
    assert ratios[:80].mean() > 5 * ratios[100:].mean()


def test_the_sample_scales_without_copies() -> None:
    scaled = Requests.concat(scale_rate(sample_trace(), 10).chunks())
    base = whole()
    assert len(scaled) == pytest.approx(10 * len(base), rel=4 / np.sqrt(len(base)))
    assert len(np.unique(scaled.input_tokens)) > 2 * len(np.unique(base.input_tokens))


def test_intensity_of_known_work() -> None:
    """One 1,000-token prompt a second; prefill time from the profile's own law, by hand."""
    trace = of_requests("steady", Requests.of(range(120), [1000] * 120, [100] * 120))
    law, decode = PROFILE.prefill, PROFILE.decode
    second = law.base_seconds + law.seconds_per_token * 1e3 + law.seconds_per_squared_token * 1e6
    # 70B: (50 - 18.1) ms over 0.059 + 0.0000311*1050 ms is a batch of 348, over the 256 allowed.
    iteration = decode.base_seconds + 256 * (
        decode.seconds_per_sequence + decode.seconds_per_context_token * 1050
    )
    load = intensity(trace, PROFILE, Slo(itl_seconds=0.05)).replicas
    assert load.prefill.tolist() == pytest.approx([second, second])
    assert load.decode.tolist() == pytest.approx([100 * iteration / 256] * 2)


def test_new_tokens_also_attend_to_cached_ones() -> None:
    """b*n + q*(n*n + 2*n*h) for n = 100 new behind h = 900 cached tokens."""
    law = PROFILE.prefill
    requests = Requests(*(np.array([value]) for value in (0.0, 1000.0, 1.0, 900.0)))
    expected = (
        law.base_seconds
        + law.seconds_per_token * 100
        + law.seconds_per_squared_token * (100**2 + 2 * 100 * 900)
    )
    load = intensity(of_requests("one", requests), PROFILE, Slo(), window_seconds=1.0)
    assert load.replicas.prefill.tolist() == pytest.approx([expected])


def test_cached_tokens_are_no_prefill_work() -> None:
    cold = Requests.of(range(60), [1000] * 60, [1] * 60)
    warm = Requests(cold.arrival_seconds, cold.input_tokens, cold.output_tokens, np.full(60, 900.0))
    cold_load, warm_load = (
        peak_load(of_requests("t", requests), PROFILE, Slo()).prefill for requests in (cold, warm)
    )
    assert warm_load < cold_load / 2


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_auto_scale_makes_the_peak_need_a_dozen_replicas(share: float) -> None:
    trace = scale_rate(sample_trace(), share)
    factor = auto_rate_scale(trace, PROFILE, Slo())
    peak = peak_load(scale_rate(trace, factor), PROFILE, Slo())
    assert sum(peak) / 0.8 == pytest.approx(12, rel=0.25)
    assert len(f"{factor:g}".replace(".", "").strip("0")) <= 2


def test_auto_scale_reduces_a_trace_that_is_too_large() -> None:
    trace = scale_rate(sample_trace(), 500)
    factor = auto_rate_scale(trace, PROFILE, Slo())
    assert factor < 1
    assert sum(peak_load(scale_rate(trace, factor), PROFILE, Slo())) / 0.8 == pytest.approx(
        12, rel=0.25
    )


def test_no_requests_have_no_intensity() -> None:
    with pytest.raises(TraceError, match="holds no requests"):
        peak_load(of_requests("empty", Requests.of([], [], [])), PROFILE, Slo())
