import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from policies.queueing import ENDLESS_WAIT, NO_WAIT, Wait, batch_at_most, erlang_c, wait_of_pool


@pytest.mark.parametrize(
    ("servers", "erlangs", "expected"),
    [
        pytest.param(1, 0.5, 0.5, id="one-server-waits-with-its-utilisation"),
        pytest.param(2, 1.0, 1 / 3, id="two-servers-textbook"),
        pytest.param(10, 8.0, 0.40918, id="ten-servers-table"),
        pytest.param(3, 3.0, 1.0, id="saturated"),
        pytest.param(3, 0.0, 0.0, id="idle"),
    ],
)
def test_erlang_c_matches_published_values(servers, erlangs, expected):
    assert erlang_c(servers, erlangs) == pytest.approx(expected, abs=1e-5)


@given(servers=st.integers(1, 400), utilisation=st.floats(0.01, 0.999))
def test_erlang_c_matches_the_recursion(servers, utilisation):
    erlangs = servers * utilisation
    blocking = 1.0
    for k in range(1, servers + 1):
        blocking = erlangs * blocking / (k + erlangs * blocking)
    expected = blocking / (1 - utilisation * (1 - blocking))
    assert erlang_c(servers, erlangs) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_wait_of_one_exponential_server_is_exact():
    wait = wait_of_pool(1, 0.8, service_seconds=2.0, arrival_cv2=1.0, service_cv2=1.0)
    rate = 1 / 2.0 - 0.8 / 2.0
    assert wait.tail(3.0) == pytest.approx(0.8 * math.exp(-rate * 3.0))


def test_the_mean_wait_of_deterministic_service_is_half_the_exponential_one():
    exponential = wait_of_pool(1, 0.8, 1.0, 1.0, 1.0)
    deterministic = wait_of_pool(1, 0.8, 1.0, 1.0, 0.0)
    mean = [w.probability / w.rate_per_second for w in (exponential, deterministic)]
    assert mean[1] == pytest.approx(mean[0] / 2)


@given(
    erlangs=st.floats(0.05, 60),
    servers=st.integers(1, 80),
    seconds=st.floats(0, 20),
    cv2=st.floats(0, 4),
)
def test_one_more_server_never_lengthens_the_wait(erlangs, servers, seconds, cv2):
    fewer = wait_of_pool(servers, erlangs, 1.0, 1.0, cv2).tail(seconds)
    more = wait_of_pool(servers + 1, erlangs, 1.0, 1.0, cv2).tail(seconds)
    assert 0.0 <= more <= fewer + 1e-12 <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(Wait(0.6, 2.0), Wait(0.3, 0.5), id="different-rates"),
        pytest.param(Wait(0.9, 1.0), Wait(0.9, 1.0), id="equal-rates"),
        pytest.param(Wait(0.7, 1.5), NO_WAIT, id="second-never-waits"),
    ],
)
def test_two_waits_add_up_as_samples_do(first, second):
    random = np.random.default_rng(1)

    def draw(wait: Wait):
        waits = random.random(400_000) < wait.probability
        return waits * random.exponential(1 / wait.rate_per_second, 400_000)

    share = float(np.mean(draw(first) + draw(second) > 1.2))
    three_sigma = 3 * math.sqrt(share * (1 - share) / 400_000) + 1e-4
    assert first.after(second)(1.2) == pytest.approx(share, abs=three_sigma)


def test_an_overloaded_stage_never_serves_in_time():
    assert NO_WAIT.after(ENDLESS_WAIT)(100.0) == 1.0
    assert ENDLESS_WAIT.after(NO_WAIT)(100.0) == 1.0


@pytest.mark.parametrize("replicas", [1, 4])
def test_the_batch_law_solves_its_balance_equations(replicas):
    """Birth-death chain: arrivals at rate a, departures at N / (o * (alpha + c * N / n))."""
    alpha, slope, output, rate = 0.02, 3e-4, 200.0, 9.0 * replicas
    weights = [1.0]
    for n in range(1, 4000):
        weights.append(weights[-1] * rate * output * (alpha + slope * n / replicas) / n)
        if weights[-1] < 1e-14 * max(weights):
            break
    probabilities = np.array(weights) / sum(weights)
    utilisation = slope * rate * output / replicas
    shape = 1 + replicas * alpha / slope
    for limit in (5, 40, 60, 90):
        limit *= replicas  # noqa: PLW2901 - the table is per replica
        assert batch_at_most(limit, shape, utilisation) == pytest.approx(
            probabilities[: limit + 1].sum(), abs=1e-9
        )


rates = st.floats(0.01, 20)
waits = st.builds(Wait, st.floats(0, 1), rates, st.floats(0, 2)) | st.just(ENDLESS_WAIT)


@given(waits, waits, st.builds(Wait, st.floats(0, 1), rates, st.just(0.0)) | st.just(ENDLESS_WAIT))
@example(Wait(0.5, 1.0, 1.0), Wait(0.5, 0.5, 1.0), Wait(1.0, 0.5, 0.0))  # two equal rates
def test_a_wait_within_another_is_never_later_after_a_third(one, other, third):
    if one.within(other):
        late, later = one.after(third), other.after(third)
        for seconds in np.linspace(-1.0, 10.0, 45).tolist():
            assert one.tail(seconds) <= other.tail(seconds) + 1e-12
            assert late(seconds) <= later(seconds) + 1e-8
