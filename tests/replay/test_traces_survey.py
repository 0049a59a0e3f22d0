"""Traces looked at, and drawn from shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from policies.config import Slo
from policies.profile import builtin
from replay.requests import Requests
from replay.traces import Trace, TraceError, of_requests, open_trace
from replay.traces.picture import draw
from replay.traces.shapes import SHAPES, shaped_trace
from replay.traces.shapes.traffic import DAY_SECONDS, Traffic
from replay.traces.sparkline import sparkline
from replay.traces.survey import Survey, survey

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")


def seen(trace: Trace) -> Survey:
    return survey(trace, PROFILE, Slo())


def arriving(gaps: np.ndarray) -> Trace:
    arrivals = np.cumsum(gaps)
    ones = np.ones(len(arrivals))
    return of_requests("t", Requests(arrivals, 100 * ones, 10 * ones, ones * 0))


def test_regular_arrivals_are_not_bursty() -> None:
    found = seen(arriving(np.full(6000, 0.5)))
    assert found.interarrival_cv == pytest.approx(0, abs=1e-6)
    assert found.dispersion[10] < 0.1
    assert found.requests_per_second == pytest.approx(2, rel=1e-3)
    assert found.peak_minute_per_second == pytest.approx(2, rel=0.02)


def test_poisson_arrivals_have_a_burstiness_of_one() -> None:
    rows = 200_000
    found = seen(arriving(np.random.default_rng(0).exponential(0.1, rows)))
    assert found.interarrival_cv == pytest.approx(1, abs=4 / np.sqrt(rows))
    for seconds, dispersion in found.dispersion.items():
        windows = rows * 0.1 / seconds
        assert dispersion == pytest.approx(1, abs=4 * np.sqrt(2 / windows))


def test_lengths_are_exact() -> None:
    tokens = np.random.default_rng(0).integers(0, 9000, 5000).astype(float)
    requests = Requests(np.arange(5000.0), tokens, tokens[::-1], tokens / 2)
    found = seen(of_requests("t", requests))
    for survey_of, column in ((found.input_tokens, tokens), (found.output_tokens, tokens)):
        assert survey_of.mean == pytest.approx(column.mean())
        for share, value in ((0.5, survey_of.p50), (0.95, survey_of.p95), (0.99, survey_of.p99)):
            assert value == np.quantile(column, share, method="inverted_cdf")
        assert survey_of.max == column.max()
    assert found.cached_fraction == pytest.approx(0.5)


def test_a_survey_does_not_depend_on_chunks() -> None:
    arrivals = np.sort(np.random.default_rng(0).uniform(0, 4000, 3000))
    requests = Requests(arrivals, arrivals // 10, arrivals // 20, arrivals * 0)
    chunks = [requests.take(slice(i, i + 41)) for i in range(0, 3000, 41)]
    split = Trace(name="t", format="memory", source=lambda: iter(chunks))
    one, other = seen(split), seen(of_requests("t", requests))
    assert one.rate_series == other.rate_series
    assert one.dispersion == other.dispersion
    assert one.interarrival_cv == pytest.approx(other.interarrival_cv)
    assert one.load_series.decode == pytest.approx(other.load_series.decode)


def test_windows_without_decode_load_have_no_ratio() -> None:
    requests = Requests.of([0, 1, 3000, 3001], [10] * 4, [5, 5, 0, 0])
    found = seen(of_requests("t", requests))
    assert found.p_d_ratio_series[0] is not None
    assert found.p_d_ratio_series[-1] is None
    assert found.p_d_ratio_series[20] is None


def test_one_request_has_no_gaps() -> None:
    assert seen(of_requests("t", Requests.of([5], [10], [5]))).interarrival_cv is None


def test_no_requests_cannot_be_surveyed() -> None:
    with pytest.raises(TraceError, match="holds no requests"):
        seen(of_requests("t", Requests.of([], [], [])))


@pytest.mark.parametrize(
    ("file", "cv", "peak"),
    [pytest.param("conv", 1.09, 8.45, id="smooth"), pytest.param("code", 13.2, 10.5, id="bursty")],
)
def test_published_burstiness(public_trace, file: str, cv: float, peak: float) -> None:
    path = public_trace(f"azure-2023/AzureLLMInferenceTrace_{file}.csv")
    found = seen(open_trace(path))
    assert found.interarrival_cv == pytest.approx(cv, rel=0.01)
    assert found.peak_minute_per_second == pytest.approx(peak, rel=0.01)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param([0, 1, 2, 4, 8], "▁▂▃▅█", id="levels"),
        pytest.param([None, 5, None], " █ ", id="unknown"),
        pytest.param([0, 0], "▁▁", id="nothing"),
        pytest.param([], "", id="empty"),
    ],
)
def test_sparkline(values: list[float | None], line: str) -> None:
    assert sparkline(values) == line


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_survey_is_drawn(tmp_path: Path, suffix: str) -> None:
    found = seen(arriving(np.full(600, 0.5)))
    draw(found, "regular", tmp_path / f"picture.{suffix}")
    content = (tmp_path / f"picture.{suffix}").read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


def shape(name: str, **changes: float) -> Requests:
    level = {
        "requests_per_second": 2.0,
        "input_tokens": 1000.0,
        "output_tokens": 200.0,
        "duration_seconds": SHAPES[name].duration_seconds,
    }
    traffic = Traffic(**{**level, **changes})  # type: ignore[arg-type]
    return Requests.concat(shaped_trace(name, traffic).chunks())


def rate(requests: Requests, start: float, end: float) -> float:
    arrivals = requests.arrival_seconds
    return float(np.sum((arrivals >= start) & (arrivals < end)) / (end - start))


def mean_output(requests: Requests, start: float, end: float) -> float:
    inside = (requests.arrival_seconds >= start) & (requests.arrival_seconds < end)
    return float(requests.output_tokens[inside].mean())


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_is_drawn_in_order_within_its_time(name: str) -> None:
    requests = shape(name, duration_seconds=4000.0)
    assert len(requests) > 500
    assert np.all(np.diff(requests.arrival_seconds) >= 0)
    assert requests.arrival_seconds[-1] < 4000
    assert requests.output_tokens.min() >= 1
    assert np.array_equal(
        requests.arrival_seconds, shape(name, duration_seconds=4000.0).arrival_seconds
    )
    other = shape(name, duration_seconds=4000.0, seed=1)
    assert not np.array_equal(requests.input_tokens[:50], other.input_tokens[:50])


def test_steady_is_steady() -> None:
    requests = shape("steady")
    assert rate(requests, 0, 3600) == pytest.approx(2, rel=0.05)
    assert requests.input_tokens.mean() == pytest.approx(1000, rel=0.06)
    assert requests.output_tokens.mean() == pytest.approx(200, rel=0.06)


def test_diurnal_is_low_at_night() -> None:
    requests = shape("diurnal")
    assert rate(requests, 3.5 * 3600, 4.5 * 3600) == pytest.approx(0.5, rel=0.15)
    assert rate(requests, 15.5 * 3600, 16.5 * 3600) == pytest.approx(2, rel=0.1)


def test_weekly_is_low_on_the_weekend() -> None:
    requests = shape("weekly", requests_per_second=0.5)
    days = [rate(requests, d * DAY_SECONDS, (d + 1) * DAY_SECONDS) for d in range(7)]
    assert np.mean(days[5:]) / np.mean(days[:5]) == pytest.approx(0.4, rel=0.05)


def test_bursts_go_above_the_level_and_back() -> None:
    per_minute = np.bincount((shape("bursts").arrival_seconds / 60).astype(int)) / 60
    assert np.median(per_minute) == pytest.approx(2, rel=0.25)
    assert per_minute.max() > 3


def test_a_flash_crowd_comes_at_once_and_leaves_slowly() -> None:
    requests = shape("flash-crowd")
    assert rate(requests, 1800, 2400) == pytest.approx(2, rel=0.15)
    assert rate(requests, 2460, 2520) == pytest.approx(11.5, rel=0.2)
    assert rate(requests, 3000, 3060) == pytest.approx(2 + 10 * np.exp(-570 / 600), rel=0.25)


def test_a_ratio_shift_keeps_the_rate() -> None:
    requests = shape("ratio-shift")
    before, after = (0, 3400), (3800, 7200)
    assert rate(requests, *before) == pytest.approx(rate(requests, *after), rel=0.08)
    assert mean_output(requests, *before) == pytest.approx(100, rel=0.08)
    assert mean_output(requests, *after) == pytest.approx(400, rel=0.08)


def test_drift_triples_the_rate_and_doubles_the_answers() -> None:
    requests = shape("drift")
    early, late = (0, DAY_SECONDS / 24), (DAY_SECONDS * 23 / 24, DAY_SECONDS)
    assert rate(requests, *late) / rate(requests, *early) == pytest.approx(2.84, rel=0.12)
    growth = mean_output(requests, *late) / mean_output(requests, *early)
    assert growth == pytest.approx(1.92, rel=0.12)


def test_steps_hold_their_levels() -> None:
    requests = shape("steps", requests_per_second=4.0)
    levels = [rate(requests, 1200 * step, 1200 * (step + 1)) for step in range(6)]
    assert levels == pytest.approx([1, 2, 4, 1.6, 3.2, 0.8], rel=0.15)
