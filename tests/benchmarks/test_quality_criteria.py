"""What a run is held to on each kind of workload: one miss at a time is told."""

from dataclasses import replace

import pytest
from quality_criteria import BURSTS, LONG_ANSWERS, SMOOTH, Against, failures, unknown
from quality_workloads import RECIPES

from policies.config import PolicySettings
from policies.profile import builtin
from replay.compare import Case, Run, Stage, Workload
from replay.scoring import Scorer

STAGE = Stage(profile=builtin("llama-3-8b-h100-fp8-tp1"), settings=PolicySettings())
EMPTY = Scorer(STAGE.settings.slo).score(
    requests=100, run_seconds=3600.0, gpu_seconds=0.0, scaling_events=0
)
AGAINST = Against(
    bound_gpu_hours=10.0,
    bound_attainment=0.992,
    ceiling_attainment=0.95,
    hpa_events_per_hour=6.0,
)


def run(attained=0.991, gpu_hours=11.0, **changes):
    score = replace(EMPTY, joint_attainment=attained, gpu_hours=gpu_hours)
    case = Case(policy="coupled", workload=Workload(), stage=STAGE)
    plain = Run(case=case, score=score, scaling_events_per_hour=6.0, p_d_ratio_mean=None)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("criterion", "played", "told"),
    [
        pytest.param(SMOOTH, run(), [], id="smooth, met"),
        pytest.param(SMOOTH, run(0.989), ["attains 98.90% < 99.00%"], id="attains too little"),
        pytest.param(SMOOTH, run(gpu_hours=11.3), ["1.13 > 1.12 x bound"], id="too dear"),
        pytest.param(LONG_ANSWERS, run(0.986, 12.4), [], id="long answers, met"),
        pytest.param(BURSTS, run(0.941, 14.9, drain_seconds=240.0), [], id="bursts, met"),
        pytest.param(BURSTS, run(0.939), ["attains 93.90% < 94.00%"], id="below the ceiling"),
        pytest.param(BURSTS, run(drain_seconds=250.0), ["drains in 250 > 240 s"], id="drains late"),
        pytest.param(
            SMOOTH,
            run(scaling_events_per_hour=6.5),
            ["6.5 > 6.0 events/h of hpa"],
            id="restless",
        ),
        pytest.param(SMOOTH, run(flaps=1), ["1 flaps"], id="flaps"),
    ],
)
def test_what_is_not_met_is_told(criterion, played, told):
    assert failures(played, criterion, AGAINST) == told


def test_nobody_is_held_to_more_than_the_clairvoyant_attains():
    assert failures(run(0.97), SMOOTH, replace(AGAINST, bound_attainment=0.967)) == []


def test_what_was_not_played_is_not_held_against_a_run_and_is_named():
    nothing = Against()
    assert failures(run(0.991, 99.0, scaling_events_per_hour=99.0), SMOOTH, nothing) == []
    assert unknown(BURSTS, nothing) == ["bound", "ceiling", "hpa"]
    assert unknown(SMOOTH, AGAINST) == []


def test_a_workload_whose_file_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACES", str(tmp_path))
    missing = RECIPES["code"].missing
    assert missing == RECIPES["code"].files
    assert RECIPES["sample"].missing == ()
