"""The dispersion of arrivals against streams whose dispersion is known by construction."""

from __future__ import annotations

import numpy as np
import pytest

from policies.dispersion import MOST_DISPERSION, dispersion

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
def test_the_estimate_is_near_the_truth_however_many_pods_count_at_whatever_moments(
    clump: int, route: object, pods: int, step: float
) -> None:
    # One estimate of 20 bins is off by about half of it, so the mean of 400 by 3%: four of those.
    # The lesser of two such estimates is a tenth low where both are above 1.
    low = 0.1 if clump > 1 else 0.0
    assert mean_of(clump, route, pods, step) == pytest.approx(clump * (1 - low), rel=0.12)


def test_clumps_that_stay_on_one_pod_count_as_much_as_those_that_spread() -> None:
    assert mean_of(6, sticky, 4, 15.0) == pytest.approx(6 * 0.9, rel=0.12)


def counted(rng: np.random.Generator, per_second: Floats, step: float) -> list[tuple[float, float]]:
    """A counter of Poisson arrivals whose rate is that in each step."""
    counts = np.concatenate([[0], np.cumsum(rng.poisson(per_second * step))])
    return [(step * i, float(count)) for i, count in enumerate(counts)]


TREBLED = np.array([0.5] * 11 + [1.5] * 13)


@pytest.mark.parametrize("step", [5.0, 15.0, 30.0])
@pytest.mark.parametrize(
    ("shape", "least", "most"),
    [
        pytest.param(np.linspace(0.5, 1.5, 24), 0.75, 1.0, id="trebles-in-minutes"),
        pytest.param(1 + 0.5 * np.sin(np.arange(24) / 38), 0.75, 1.1, id="of-an-hour"),
        # What is left of a step is its chance beside it; its height would be 25 in bins of 15 s.
        pytest.param(TREBLED, 0.9, 3.5, id="trebles-at-once"),
        pytest.param(TREBLED[::-1], 0.9, 3.5, id="falls-at-once"),
    ],
)
def test_a_load_that_moves_is_no_burst(
    shape: Floats, least: float, most: float, step: float
) -> None:
    rng = np.random.default_rng(0)
    found = [dispersion([counted(rng, 50 * shape, step)]) for _ in range(400)]
    assert least < np.mean(found) < most


@pytest.mark.parametrize("at", [5, 11, 18], ids=["before", "at-the-step", "after"])
def test_a_burst_counts_although_the_load_moves_as_well(at: int) -> None:
    rng = np.random.default_rng(0)
    burst = np.zeros(24)
    burst[at] = 1.0  # 750 requests in 15 s on top: their square over 18,750 requests is 30
    found = [dispersion([counted(rng, 50 * (TREBLED + burst), 15.0)]) for _ in range(400)]
    assert 15 < np.mean(found) < 80


def steady(pods: int, reads: int = 21) -> list[list[tuple[float, float]]]:
    """Counters of one Poisson stream of 12 requests a second over the pods."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(180 / pods, size=(reads, pods)).cumsum(axis=0)
    return [[(15.0 * i, 1000.0 + counts[i, pod]) for i in range(reads)] for pod in range(pods)]


def restarted(counter: list[tuple[float, float]], at: int) -> list[tuple[float, float]]:
    return [*counter[:at], *((t, value - counter[at - 1][1]) for t, value in counter[at:])]


def scaled(before: int, after: int) -> list[list[tuple[float, float]]]:
    """40 requests a second over the pods that there are; the first of four is new, or goes."""
    rng = np.random.default_rng(1)
    shares = [600 / before] * 9 + [600 / after] * 12
    counts = rng.poisson(np.array(shares)[:, None], size=(21, 4)).cumsum(axis=0)
    first, *rest = [[(15.0 * i, 1000.0 + counts[i, pod]) for i in range(21)] for pod in range(4)]
    return [first[8:] if before < after else first[:9], *rest]


def unread(counter: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Not read for a minute, in which it counted for somebody else."""
    return [(t, value + 900 * (t > 120)) for t, value in counter if not 90 <= t <= 120]


@pytest.mark.parametrize(
    "counters",
    [
        pytest.param(scaled(3, 4), id="new"),
        pytest.param(scaled(4, 3), id="gone"),
        pytest.param([restarted(steady(4)[0], 8), *steady(4)[1:]], id="restarted"),
        pytest.param([unread(steady(4)[0]), *steady(4)[1:]], id="unread"),
    ],
)
def test_a_pod_that_comes_goes_or_restarts_is_no_burst(
    counters: list[list[tuple[float, float]]],
) -> None:
    since = 15.0 * 9  # each happens just before
    kept = [[point for point in one if point[0] >= since] for one in counters]
    found = dispersion(counters)
    assert found < 2
    assert found == pytest.approx(dispersion([one for one in kept if one]), abs=0.5)


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
    assert (
        dispersion([[(t, v + 1e9 * (i > 10)) for i, (t, v) in enumerate(one)]]) == MOST_DISPERSION
    )
    assert dispersion([[(15.0 * i, 60.0 * i) for i in range(21)]]) == 0


def test_reads_of_one_round_may_be_milliseconds_apart() -> None:
    counters = steady(4)
    rng = np.random.default_rng(2)
    late = [[(t + rng.uniform(0, 0.05), value) for t, value in one] for one in counters]
    assert dispersion(late) == pytest.approx(dispersion(counters), rel=0.02)
