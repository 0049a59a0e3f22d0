import numpy as np
import pytest

from forecasting.change import UNWATCHED
from forecasting.ensemble import CHOOSING, choose

NAMES = ("last_value", "seasonal_naive", "good", "also_good", "bad")


def centres(truth, errors, seed=0):
    random = np.random.default_rng(seed)
    return np.column_stack([truth * np.exp(e * random.standard_normal(len(truth))) for e in errors])


@pytest.fixture
def truth():
    return 100 * np.exp(0.3 * np.sin(np.arange(400) / 10))


def test_nothing_is_used_that_does_not_beat_the_naive_ones(truth):
    table = centres(truth, (0.1, 0.2, 0.1005, 0.2, 0.4))
    table[:, 2] = table[:, 0] * 1.0001  # as good as the last value, but not better by the margin
    assert choose(NAMES, table, truth, 0.9, CHOOSING) == {"last_value": 1.0}


def test_a_model_between_the_naive_ones_is_not_used(truth):
    table = centres(truth, (0.2, 0.05, 0.1, 0.3, 0.4))
    assert choose(NAMES, table, truth, 0.9, CHOOSING) == {"seasonal_naive": 1.0}


def test_independent_good_models_are_blended(truth):
    weights = choose(NAMES, centres(truth, (0.2, 0.2, 0.05, 0.05, 0.4)), truth, 0.9, CHOOSING)
    assert set(weights) == {"good", "also_good"}
    assert sum(weights.values()) == pytest.approx(1.0)


def test_a_model_that_no_longer_takes_part_is_not_chosen(truth):
    table = centres(truth, (0.2, 0.2, 0.05, 0.1, 0.4))
    table[:, 2] = np.nan
    assert choose(NAMES, table, truth, 0.9, CHOOSING) == {"also_good": 1.0}


def test_few_rows_decide_nothing(truth):
    table = centres(truth, (0.2, 0.2, 0.01, 0.01, 0.4))[:20]
    assert choose(NAMES, table, truth[:20], 0.9, CHOOSING) == {"last_value": 1.0}


def watched(errors):
    watch, alarms = UNWATCHED, []
    for cell, error in enumerate(errors):
        watch = watch.after(error)
        if watch.changed:
            alarms.append(cell)
    return alarms


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lasting_shift_is_noticed_within_five_cells(sign):
    errors = 0.1 * np.random.default_rng(0).standard_normal(300)
    errors[200:205] += sign
    assert watched(errors)[0] in range(200, 205)


def test_noise_and_one_wild_cell_raise_no_alarm():
    errors = 0.1 * np.random.default_rng(0).standard_normal(2000)
    errors[1000] = 50.0
    errors[1500] = np.nan
    assert watched(errors) == []
