import math
from dataclasses import replace

import numpy as np
import pytest

from policies.calibration import UNCALIBRATED, Correction, Evidence, drift_notes, learn, slowed
from policies.capacity import Capacity
from policies.config import PolicySettings
from policies.demand import Demand, Shape
from policies.evidence import Witness
from policies.lengths import Lengths
from policies.profile import builtin
from policies.surge import QueueReading
from policies.types import Latency, Observation, PerRole, PoolState, Role

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SETTINGS = PolicySettings()
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths.lognormal(211),
)
SIZES = PerRole(6, 4)
POOLS = SIZES.map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
RATE = 40.0
DEMAND = Demand(load=SHAPE.load_of(PROFILE, RATE), shape=SHAPE)


def truth(factor: PerRole[float]) -> Capacity:
    """A fleet whose replicas take `factor` times as long as the profile says."""
    profile = slowed(PROFILE, factor)
    load = SHAPE.load_of(profile, RATE)
    return Capacity(profile, SETTINGS, Demand(load=load, shape=SHAPE))


def observe(fleet: Capacity, random: np.random.Generator) -> Observation:
    mean = fleet.prefill.mean_seconds(SIZES.prefill) + fleet.after_prefill_seconds(SIZES)
    ttft = mean * random.lognormal(0, 0.1)
    itl = fleet.decode(SIZES.decode).itl_mean_seconds * random.lognormal(0, 0.02)
    return Observation(
        observed_at_seconds=0,
        window_seconds=60,
        requests_per_second=RATE,
        waiting_requests=PerRole(2.0, 0.0),
        ttft=Latency(mean_seconds=ttft),
        itl=Latency(mean_seconds=itl),
    )


def witness(observation: Observation, **changes) -> Witness:
    seen = Witness(
        observation=observation,
        pools=POOLS,
        demand=DEMAND,
        profile=PROFILE,
        settings=SETTINGS,
        queue_before=QueueReading(-15.0, 2.0, 6),
        queue_now=QueueReading.of(observation, 6, None),
        calm_seconds=600.0,
    )
    return replace(seen, **changes)


def taught(fleet: Capacity, ticks: int):
    random, calibration = np.random.default_rng(0), UNCALIBRATED
    for _ in range(ticks):
        evidence = witness(observe(fleet, random)).evidence(calibration)
        calibration = learn(calibration, evidence, 15.0)
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
    calibration = taught(truth(factor), ticks=120)
    assert calibration.prefill.factor == pytest.approx(factor.prefill, rel=0.05)
    assert calibration.decode.factor == pytest.approx(factor.decode, rel=0.03)


def test_learning_narrows_the_doubt():
    after = taught(truth(PerRole(1.0, 1.0)), ticks=120)
    assert after.prefill.deviation < UNCALIBRATED.prefill.deviation / 2
    assert after.decode.deviation < UNCALIBRATED.decode.deviation / 2
    assert after.prefill.sized_factor == after.decode.sized_factor == 1.0
    assert UNCALIBRATED.decode.sized_factor > 1.15


def test_drift_is_told_and_small_corrections_are_not():
    assert drift_notes(taught(truth(PerRole(1.05, 1.05)), ticks=60)) == ()
    (note,) = drift_notes(taught(truth(PerRole(1.0, 1.5)), ticks=60))
    assert note.startswith("decode replicas take 1.5")


def test_a_standing_queue_tells_the_speed_by_what_leaves():
    """40 requests/s arrive, 15 s later 300 more wait: 20/s were served by 6 busy replicas."""
    overloaded = replace(
        observe(truth(PerRole(1.0, 1.0)), np.random.default_rng(0)),
        waiting_requests=PerRole(800.0, 0.0),
    )
    before = QueueReading(-15.0, 500.0, 6)
    seen = witness(overloaded, queue_before=before, calm_seconds=0.0)
    seen = seen.evidence(UNCALIBRATED).prefill
    alone = Capacity(PROFILE, SETTINGS, DEMAND)
    able_per_second = 6 * RATE / alone.prefill_erlangs
    assert seen.residual == pytest.approx(math.log(able_per_second / 20.0))


def test_a_queue_read_once_and_seen_twice_teaches_nothing():
    overloaded = replace(
        observe(truth(PerRole(1.0, 1.0)), np.random.default_rng(0)),
        waiting_requests=PerRole(800.0, 0.0),
    )
    once = QueueReading(-5.0, 800.0, 6)
    seen = witness(overloaded, queue_before=once, queue_now=once, calm_seconds=0.0)
    assert seen.evidence(UNCALIBRATED).prefill is None


def test_requests_stuck_behind_prefill_say_nothing_about_its_speed():
    stuck = replace(
        observe(truth(PerRole(1.0, 1.0)), np.random.default_rng(0)),
        kv_transfer_backlog_requests=900.0,
        ttft=Latency(mean_seconds=20.0),
    )
    assert witness(stuck, calm_seconds=0.0).evidence(UNCALIBRATED).prefill is None


def test_a_window_that_still_holds_late_requests_teaches_nothing():
    seen = observe(truth(PerRole(1.3, 1.3)), np.random.default_rng(0))
    assert witness(seen, calm_seconds=59.0).evidence(UNCALIBRATED).prefill is None
    assert witness(seen, calm_seconds=61.0).evidence(UNCALIBRATED).prefill is not None


def test_one_absurd_sample_is_rejected_and_several_in_a_row_are_believed():
    settled = taught(truth(PerRole(1.0, 1.0)), ticks=120).decode

    def absurd(belief: Correction) -> Evidence:
        return Evidence(math.log(1.9) - belief.mean, 1.0, 0.0025)

    assert settled.updated(absurd(settled), 0.0).factor == settled.factor
    changed = settled
    for _ in range(12):
        changed = changed.updated(absurd(changed), 0.0)
    assert changed.factor == pytest.approx(1.9, rel=0.05)


def test_a_correction_stays_within_half_and_double():
    open_minded = Correction(variance=1e6)
    assert open_minded.updated(Evidence(4.0, 1.0, 0.01), 0.0).factor == pytest.approx(2.0)
    assert open_minded.updated(Evidence(-4.0, 1.0, 0.01), 0.0).factor == pytest.approx(0.5)


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
    seen = observe(truth(PerRole(1.3, 1.3)), np.random.default_rng(0))
    evidence = witness(seen, pools=PerRole(pool, pool)).evidence(UNCALIBRATED)
    assert tuple(evidence) == (None, None)
    assert learn(UNCALIBRATED, evidence, 15.0) == UNCALIBRATED


def test_without_a_ready_decode_replica_ttft_tells_nothing_of_prefill():
    down = POOLS.but(Role.DECODE, PoolState(desired_replicas=4, ready_replicas=0))
    seen = observe(truth(PerRole(1.3, 1.3)), np.random.default_rng(0))
    assert tuple(witness(seen, pools=down).evidence(UNCALIBRATED)) == (None, None)


@pytest.mark.parametrize(
    "unknown",
    [
        pytest.param({"ttft": Latency(), "itl": Latency()}, id="latencies"),
        pytest.param({"waiting_requests": PerRole(None, None), "itl": Latency()}, id="queue"),
        pytest.param({"requests_per_second": None}, id="arrivals"),
    ],
)
def test_unknown_signals_teach_nothing(unknown):
    seen = replace(observe(truth(PerRole(1.3, 1.3)), np.random.default_rng(0)), **unknown)
    assert tuple(witness(seen).evidence(UNCALIBRATED)) == (None, None)


@pytest.mark.parametrize(
    ("believed", "sized"),
    [
        pytest.param(0.06, 0.0, id="within-what-the-model-errs: the profile"),
        pytest.param(-0.06, 0.0, id="on either side"),
        pytest.param(0.15, 0.1, id="in-between: in proportion"),
        pytest.param(0.3, 0.3, id="surely-slower: as believed"),
        pytest.param(-0.3, -0.3, id="surely-faster: as believed"),
    ],
)
def test_a_profile_that_was_watched_is_left_only_for_more_than_the_model_errs(believed, sized):
    assert math.log(Correction(mean=believed, variance=1e-12).sized_factor) == pytest.approx(
        sized, abs=1e-4
    )


def test_doubt_costs_replicas_before_anything_was_watched():
    assert Correction().sized_factor == pytest.approx(math.exp(0.15))
