"""The dispersion of arrivals against streams whose dispersion is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from policies.dispersion import dispersion

RATE = 8.0
Floats = np.ndarray


def arrivals(rng: np.random.Generator, clump: int, seconds: float) -> Floats:
    """A Poisson stream of clumps, each spread over a second: its dispersion is their size."""
    clumps = rng.uniform(0, seconds, rng.poisson(RATE * seconds / clump))
    spread = rng.uniform(0, 1, (len(clumps), clump)) if clump > 1 else 0.0
    return np.sort((clumps[:, None] + spread).ravel())


def round_robin(_: np.random.Generator, times: Floats, pods: int) -> Floats:
    return np.arange(len(times)) % pods


def at_random(rng: np.random.Generator, times: Floats, pods: int) -> Floats:
    return rng.integers(pods, size=len(times))


def sticky(rng: np.random.Generator, times: Floats, pods: int) -> Floats:
    """All that arrives within half a second on one pod."""
    return rng.integers(pods, size=int(times[-1] * 2) + 1)[(times * 2).astype(int)]


def scraped(
    rng: np.random.Generator, times: Floats, pod: Floats, pods: int, step: float, seconds: float
) -> list[list[tuple[float, float]]]:
    """Counters of the pods, each read every `step` from a moment of its own."""
    counters = []
    for one in range(pods):
        reads = np.arange(rng.uniform(0, step), seconds, step)
        counters.append(list(zip(reads, np.searchsorted(times[pod == one], reads), strict=True)))
    return counters


def mean_of(clump: int, route: object, pods: int, step: float, runs: int = 400) -> float:
    rng = np.random.default_rng(0)
    seconds = max(24 * step, 360.0)
    found = []
    for _ in range(runs):
        times = arrivals(rng, clump, seconds)
        counters = scraped(rng, times, route(rng, times, pods), pods, step, seconds)
        found.append(dispersion(counters))
    assert None not in found
    return float(np.mean(found))


@pytest.mark.slow
@pytest.mark.parametrize("step", [5.0, 15.0, 30.0])
@pytest.mark.parametrize(
    ("route", "pods"),
    [(round_robin, 1), (round_robin, 4), (round_robin, 20), (at_random, 4), (at_random, 20)],
    ids=["one-pod", "round-robin-4", "round-robin-20", "at-random-4", "at-random-20"],
)
@pytest.mark.parametrize("clump", [1, 6])
def test_the_estimate_is_unbiased_however_many_pods_count_at_whatever_moments(
    clump: int, route: object, pods: int, step: float
) -> None:
    # One estimate of 20 bins is off by about half of it, so the mean of 400 by 3%: four of those.
    assert mean_of(clump, route, pods, step) == pytest.approx(clump, rel=0.12)


def test_clumps_that_stay_on_one_pod_count_as_much_as_those_that_spread() -> None:
    assert mean_of(6, sticky, 4, 15.0) == pytest.approx(6, rel=0.12)


def counted(rng: np.random.Generator, per_second: Floats, step: float) -> list[tuple[float, float]]:
    """A counter of Poisson arrivals whose rate is that in each step."""
    counts = np.concatenate([[0], np.cumsum(rng.poisson(per_second * step))])
    return [(step * i, float(count)) for i, count in enumerate(counts)]


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        pytest.param(np.linspace(0.5, 1.5, 20), 1.1, id="trebles-in-five-minutes"),
        pytest.param(1 + 0.5 * np.sin(np.arange(20) * 15 * 2 * np.pi / 3600), 1.1, id="of-an-hour"),
    ],
)
def test_a_trend_is_no_burst(shape: Floats, most: float) -> None:
    rng = np.random.default_rng(0)
    found = [dispersion([counted(rng, 50 * shape, 15.0)]) for _ in range(400)]
    assert np.mean(found) == pytest.approx(1, abs=most - 1)


def steady(pods: int, reads: int = 21) -> list[list[tuple[float, float]]]:
    """Counters of one Poisson stream of 12 requests a second over the pods."""
    rng = np.random.default_rng(1)
    counts = rng.multinomial(180, [1 / pods] * pods, size=reads).cumsum(axis=0)
    return [[(15.0 * i, 1000.0 + counts[i, pod]) for i in range(reads)] for pod in range(pods)]


def restarted(counter: list[tuple[float, float]], at: int) -> list[tuple[float, float]]:
    return [*counter[:at], *((t, value - counter[at - 1][1]) for t, value in counter[at:])]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda c: c[8:], id="new"),
        pytest.param(lambda c: c[:8], id="gone"),
        pytest.param(lambda c: restarted(c, 8), id="restarted"),
        pytest.param(lambda c: [(t, v + 900 * (i > 8)) for i, (t, v) in enumerate(c) if i not in
                                (6, 7, 8)], id="unread-for-a-minute"),
    ],
)  # fmt: skip
def test_a_pod_that_comes_goes_or_restarts_is_no_burst(changed: object) -> None:
    first, *rest = steady(4)
    found = dispersion([changed(first), *rest])
    after = [[point for point in one if point[0] >= 15 * 9] for one in (first, *rest)]
    assert found == pytest.approx(dispersion(after), abs=0.6)
    assert found < 2


def test_one_missed_read_is_no_burst() -> None:
    one = steady(1, reads=41)[0]
    whole, without = dispersion([one]), dispersion([[*one[:20], *one[21:]]])
    assert whole < 2
    assert without == pytest.approx(whole, abs=0.3)


@pytest.mark.parametrize(
    "counters",
    [
        pytest.param([], id="no-counter"),
        pytest.param([[]], id="no-point"),
        pytest.param([[(0.0, 5.0)]], id="one-point"),
        pytest.param(steady(1, reads=10), id="five-bins"),
        pytest.param([[(15.0 * i, 100.0) for i in range(21)]], id="no-arrivals"),
        pytest.param([[(15.0 * i, float(i)) for i in range(21)]], id="sixteen-arrivals"),
        pytest.param([restarted(c, 18) for c in steady(2)], id="restarted-just-now"),
    ],
)
def test_too_little_is_unknown(counters: list[list[tuple[float, float]]]) -> None:
    assert dispersion(counters) is None


def test_a_counter_that_jumps_is_capped_and_regular_arrivals_are_zero() -> None:
    (one,) = steady(1)
    assert dispersion([[(t, v + 1e9 * (i > 10)) for i, (t, v) in enumerate(one)]]) == 100
    assert dispersion([[(15.0 * i, 60.0 * i) for i in range(21)]]) == 0
