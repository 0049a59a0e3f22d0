"""The level of a load: steady where only chance moves it, quick where the load does."""

import numpy as np
import pytest

from forecasting.level import Windows

TICK, WINDOW = 10.0, 60.0


def windows(load_at, noise_fraction: float, ticks: int = 64) -> Windows:
    """What is read after `ticks` of a load, each sample being the mean over a window."""
    seconds = np.arange(1, ticks + 1) * TICK
    fine = np.arange(0.0, seconds[-1] + 1.0)
    loads = np.array([load_at(at - seconds[-1]) for at in fine])
    means = np.array(
        [
            loads[(fine > at - WINDOW) & (fine <= at)].mean() if at > 0 else loads[0]
            for at in seconds
        ]
    )
    return Windows.of(seconds, means, window_seconds=WINDOW, noise_fraction=noise_fraction)


def test_a_steady_load_is_its_own_level_and_does_not_rise():
    read = windows(lambda _: 10.0, 0.05)
    assert read.level == pytest.approx(10.0)
    assert read.risen(120.0) == pytest.approx(10.0)


def test_chance_moves_the_level_less_than_the_newest_window():
    random = np.random.default_rng(3)
    seconds = np.arange(1, 2001) * WINDOW  # windows that do not overlap
    means = 10.0 * (1.0 + 0.05 * random.standard_normal(2000))
    levels = [
        Windows.of(
            seconds[i - 10 : i], means[i - 10 : i], window_seconds=WINDOW, noise_fraction=0.05
        ).level
        for i in range(10, 2000)
    ]
    assert np.std(levels) < 0.6 * np.std(means)
    assert np.mean(levels) == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1])
def test_after_a_step_the_level_is_within_one_deviation_of_the_newest_window(noise):
    read = windows(lambda ago: 10.0 if ago <= -60 else 20.0, noise)
    assert read.level >= 20.0 * (1 - noise) - 1e-9
    assert read.level <= 20.0


def test_a_ramp_is_carried_on_to_the_time_asked_for():
    """2 per minute for ten minutes: after two more minutes 4 more than now."""
    read = windows(lambda ago: 40.0 + ago * 2.0 / 60.0, 0.01)
    assert read.risen(120.0) == pytest.approx(44.0, rel=0.04)


def test_a_rise_is_not_carried_on_beyond_what_was_seen_of_it():
    read = windows(lambda ago: 10.0 if ago <= -30 else 30.0, 0.01)
    newest = float(read.means[0])
    assert newest < read.risen(600.0) <= newest + (newest - 10.0) + 1e-9


@pytest.mark.parametrize("newest", [10.75, 9.25])
def test_noise_is_no_rise_and_no_fall(newest):
    """A window 1.5 deviations off the others proves nothing."""
    seconds = np.arange(1, 11) * WINDOW
    means = np.r_[np.full(9, 10.0), newest]
    read = Windows.of(seconds, means, window_seconds=WINDOW, noise_fraction=0.05)
    assert read.risen(120.0) == pytest.approx(newest)
    assert not read.falls


def test_of_the_noise_only_what_is_no_burst_hides_a_rise():
    """The newest window is 20% above the others: 2 deviations, and 8 of a quarter of the noise."""
    seconds = np.arange(1, 11) * WINDOW
    means = np.r_[np.full(9, 10.0), 12.0]
    read = Windows.of(seconds, means, window_seconds=WINDOW, noise_fraction=0.1)
    assert read.risen(120.0) == pytest.approx(12.0)
    assert read.risen(120.0, noise_share=0.25) > 12.5


def test_chance_alone_seldom_looks_like_a_fall():
    """Three pairs of windows are looked at every time."""
    random = np.random.default_rng(7)
    falls = []
    for _ in range(2000):
        means = 10.0 * (1.0 + 0.05 * random.standard_normal(10))
        seconds = np.arange(1, 11) * WINDOW
        read = Windows.of(seconds, means, window_seconds=WINDOW, noise_fraction=0.05)
        falls.append(read.falls)
    assert np.mean(falls) < 0.005


def test_a_load_that_fell_and_stands_now_does_not_fall():
    fell = windows(lambda ago: 40.0 if ago <= -240 else 20.0, 0.01)
    assert not fell.falls


@pytest.mark.parametrize(
    ("per_minute", "falls"), [(-2.0, True), (-0.01, False), (0.0, False), (2.0, False)]
)
def test_a_load_falls_when_chance_does_not_explain_it(per_minute, falls):
    assert windows(lambda ago: 40.0 + ago * per_minute / 60.0, 0.01).falls is falls


def test_one_sample_is_all_there_is():
    read = Windows.of(np.array([10.0]), np.array([3.0]), window_seconds=60.0, noise_fraction=0.1)
    assert (read.level, read.risen(120.0)) == (3.0, 3.0)
