"""Traces changed into others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from replay.requests import Requests
from replay.traces import Trace, of_requests
from replay.traces.shape import cut, mix, repeat, scale_rate, thin


def poisson(rows: int = 4000, seed: int = 7) -> Requests:
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1.0, rows))
    return Requests(
        arrivals - arrivals[0],
        random.integers(1, 5000, rows).astype(float),
        random.integers(1, 500, rows).astype(float),
        np.zeros(rows),
    )


def chunked(requests: Requests, rows: int) -> Trace:
    def source() -> Iterator[Requests]:
        for start in range(0, len(requests), rows):
            yield requests.take(slice(start, start + rows))

    return Trace(name="chunked", format="memory", source=source)


def whole(trace: Trace) -> Requests:
    return Requests.concat(trace.chunks())


def same(one: Requests, other: Requests) -> bool:
    return all(
        np.array_equal(getattr(one, column), getattr(other, column))
        for column in ("arrival_seconds", "input_tokens", "output_tokens", "cached_tokens")
    )


CHANGES: list = [
    pytest.param(lambda t: scale_rate(t, 3.4), id="scale-up"),
    pytest.param(lambda t: scale_rate(t, 0.3), id="scale-down"),
    pytest.param(lambda t: thin(t, 0.5), id="thin"),
    pytest.param(lambda t: cut(t, 100, 900), id="cut"),
    pytest.param(lambda t: repeat(t, 3), id="repeat"),
    pytest.param(lambda t: mix("both", [t, scale_rate(t, 2)]), id="mix"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_keeps_order_and_can_be_played_again(change: Callable[[Trace], Trace]) -> None:
    trace = change(chunked(poisson(), 333))
    requests = whole(trace)
    assert len(requests)
    assert requests.arrival_seconds[0] >= 0
    assert np.all(np.diff(requests.arrival_seconds) >= 0)
    assert same(requests, whole(trace))


@pytest.mark.parametrize("change", CHANGES)
def test_chunk_size_does_not_decide_the_draws(change: Callable[[Trace], Trace]) -> None:
    requests = poisson()
    assert same(whole(change(chunked(requests, 97))), whole(change(chunked(requests, 4000))))


@pytest.mark.parametrize("factor", [0.25, 1.0, 1.5, 3.4, 7.0])
def test_scaling_multiplies_the_requests_and_keeps_the_lengths(factor: float) -> None:
    before = poisson()
    after = whole(scale_rate(of_requests("base", before), factor))
    share = factor % 1
    four_sigma = 4 * np.sqrt(len(before) * share * (1 - share))
    assert len(after) == pytest.approx(factor * len(before), abs=four_sigma)
    assert after.input_tokens.mean() == pytest.approx(before.input_tokens.mean(), rel=0.06)


def test_a_whole_factor_plays_every_request_that_often() -> None:
    before = poisson()
    after = whole(scale_rate(of_requests("base", before), 3))
    assert sorted(after.input_tokens) == sorted(np.repeat(before.input_tokens, 3))


def test_copies_do_not_arrive_in_lockstep() -> None:
    """Regular arrivals, 20 times: without jitter, 20 requests would share every instant."""
    regular = Requests.of(range(500), [1] * 500, [1] * 500)
    after = whole(scale_rate(of_requests("regular", regular), 20))
    assert len(np.unique(after.arrival_seconds)) > 0.99 * len(after)
    per_second = np.bincount(after.arrival_seconds.astype(int))[10:490]
    assert per_second.mean() == pytest.approx(20, rel=0.02)
    assert per_second.max() < 2 * 20


def test_scaling_keeps_the_load_over_time() -> None:
    """A step from 1 to 4 requests per second stays a step, to within the jitter."""
    arrivals = np.concatenate([np.arange(0, 500, 1.0), np.arange(500, 1000, 0.25)])
    step = Requests.of(arrivals, np.ones(2500), np.ones(2500))
    after = whole(scale_rate(of_requests("step", step), 5)).arrival_seconds
    assert np.sum(after < 497) == pytest.approx(5 * 497, abs=5)
    assert np.sum(after > 503) == pytest.approx(5 * 4 * 497, abs=25)


def test_seeds_differ() -> None:
    trace = of_requests("base", poisson())
    assert not same(whole(scale_rate(trace, 2.5, seed=1)), whole(scale_rate(trace, 2.5, seed=2)))


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_factor_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="positive factor"):
        scale_rate(of_requests("base", poisson()), factor)


def test_a_cut_starts_at_its_own_zero_and_excludes_its_end() -> None:
    trace = of_requests("ticks", Requests.of([0, 10, 20, 30], [1, 2, 3, 4], [1] * 4))
    kept = whole(cut(trace, 10, 30))
    assert kept.arrival_seconds.tolist() == [0, 10]
    assert kept.input_tokens.tolist() == [2, 3]


def test_a_cut_stops_reading_at_its_end() -> None:
    def endless() -> Iterator[Requests]:
        second = 0.0
        while True:
            yield Requests.of([second], [1], [1])
            second += 1

    assert len(whole(cut(Trace(name="endless", format="memory", source=endless), 5, 15))) == 10


def test_repetitions_follow_each_other_without_a_seam() -> None:
    trace = of_requests("ticks", Requests.of([0, 10, 20], [1, 2, 3], [1] * 3))
    assert whole(repeat(trace, 2)).arrival_seconds.tolist() == [0, 10, 20, 30, 40, 50]
    assert whole(repeat(trace, 2, period_seconds=100)).arrival_seconds.tolist() == [
        *(0, 10, 20),
        *(100, 110, 120),
    ]


def test_a_period_shorter_than_the_trace_is_refused() -> None:
    trace = of_requests("ticks", Requests.of([0, 10, 20], [1, 2, 3], [1] * 3))
    with pytest.raises(ValueError, match="an arrival at 20 s in a 15 s period"):
        whole(repeat(trace, 2, period_seconds=15))


def test_a_mix_is_all_requests_in_order() -> None:
    parts = [poisson(500, seed) for seed in range(3)]
    mixed = whole(mix("all", [chunked(part, 50 + 20 * i) for i, part in enumerate(parts)]))
    together = Requests.concat(parts)
    assert same(mixed, together.take(np.argsort(together.arrival_seconds, kind="stable")))


def test_a_mix_of_a_trace_with_itself_scales_without_lockstep() -> None:
    trace = of_requests("base", poisson())
    scaled = whole(scale_rate(mix("twice", [trace, trace]), 3))
    assert len(scaled) == 6 * 4000
    assert len(np.unique(scaled.arrival_seconds)) == 5 * 4000, "only the originals coincide"
