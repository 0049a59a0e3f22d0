from dataclasses import replace

import numpy as np
import pytest

from policies.calibration import UNCALIBRATED, Correction, corrected, learn
from policies.demand import Shape, prefill_seconds
from policies.lengths import Lengths
from policies.profile import Profile, builtin
from policies.types import Latency, Observation, PerRole, PoolState

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155), prefix_hit_fraction=0.0, output_tokens_mean=211
)
POOLS = PerRole(8, 4).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
RATE = 40.0


def world(factor: PerRole[float]) -> Profile:
    return corrected(PROFILE, factor.map(lambda f: Correction(float(np.log(f)))))


def observe(truth: Profile, random: np.random.Generator) -> Observation:
    """What such replicas show: a Poisson count of busy ones, a noisy mean ITL."""
    busy = RATE * SHAPE.prompt_tokens.average(lambda n: prefill_seconds(truth.prefill, n))
    law = truth.decode
    slope = law.seconds_per_sequence + law.seconds_per_context_token * (1155 + 211 / 2)
    tokens_per_second = RATE * 211 / 4
    itl = law.base_seconds / (1 - slope * tokens_per_second)
    return Observation(
        observed_at_seconds=0,
        window_seconds=60,
        requests_per_second=RATE,
        running_requests=PerRole(float(min(random.poisson(busy), 8)), None),
        itl=Latency(mean_seconds=itl * random.normal(1, 0.03)),
    )


def taught(truth: Profile, ticks: int, seed: int = 0):
    random, calibration = np.random.default_rng(seed), UNCALIBRATED
    for _ in range(ticks):
        calibration = learn(calibration, observe(truth, random), POOLS, SHAPE, PROFILE, 15.0)
    return calibration


@pytest.mark.parametrize(
    "factor",
    [
        pytest.param(PerRole(1.0, 1.0), id="right"),
        pytest.param(PerRole(1.3, 1.3), id="both-slower-by-30%"),
        pytest.param(PerRole(0.75, 1.3), id="one-faster-one-slower"),
    ],
)
def test_a_wrong_profile_is_absorbed_within_half_an_hour(factor):
    calibration = taught(world(factor), ticks=120)
    assert calibration.prefill.factor == pytest.approx(factor.prefill, rel=0.12)
    assert calibration.decode.factor == pytest.approx(factor.decode, rel=0.05)


def test_learning_narrows_the_doubt():
    before, after = UNCALIBRATED, taught(PROFILE, ticks=120)
    assert after.prefill.deviation < before.prefill.deviation / 2
    assert after.decode.deviation < before.decode.deviation / 2


def test_one_absurd_sample_is_rejected_and_several_in_a_row_are_believed():
    settled = taught(PROFILE, ticks=120).decode
    once = settled.updated(1.9, 0.0025, 0.0)
    assert once.factor == settled.factor
    changed = settled
    for _ in range(12):
        changed = changed.updated(1.9, 0.0025, 0.0)
    assert changed.factor == pytest.approx(1.9, rel=0.05)


def test_a_correction_stays_within_half_and_double():
    correction = Correction(variance=1e6)
    assert correction.updated(50.0, 0.01, 0.0).factor == pytest.approx(2.0)
    assert correction.updated(0.01, 0.01, 0.0).factor == pytest.approx(0.5)


@pytest.mark.parametrize(
    "pool",
    [
        pytest.param(
            PoolState(desired_replicas=9, ready_replicas=8, starting_ages_seconds=(30.0,)),
            id="a-replica-is-warming-up",
        ),
        pytest.param(
            PoolState(desired_replicas=8, ready_replicas=8, draining_replicas=1), id="draining"
        ),
        pytest.param(PoolState(desired_replicas=8, ready_replicas=0), id="none-ready"),
    ],
)
def test_a_pool_in_transition_teaches_nothing(pool):
    seen = observe(world(PerRole(1.3, 1.3)), np.random.default_rng(0))
    assert learn(UNCALIBRATED, seen, PerRole(pool, pool), SHAPE, PROFILE, 15.0) == UNCALIBRATED


def test_unknown_signals_teach_nothing():
    blank = Observation(observed_at_seconds=0, window_seconds=60, requests_per_second=RATE)
    assert learn(UNCALIBRATED, blank, POOLS, SHAPE, PROFILE, 15.0) == UNCALIBRATED


def test_a_saturated_prefill_pool_is_no_measure_of_service_time():
    seen = observe(PROFILE, np.random.default_rng(0))
    full = replace(seen, running_requests=PerRole(8.0, None))
    assert learn(UNCALIBRATED, full, POOLS, SHAPE, PROFILE, 15.0).prefill == UNCALIBRATED.prefill
