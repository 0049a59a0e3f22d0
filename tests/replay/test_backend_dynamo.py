"""Our plant beside Dynamo's own replay, which nobody here wrote."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from policies.config import PolicySettings
from policies.engine import Engine
from policies.profile import builtin
from policies.types import PerRole, Role
from replay.backends import BACKENDS, BackendMissingError
from replay.backends.dynamo.engine import arguments
from replay.backends.dynamo.snapshot import Gauge, Pools, Window
from replay.backends.dynamo.workload import Workload, write
from replay.physics import Physics, Router, ScaleIn, StartUp
from replay.requests import Requests
from replay.scene import Scene
from replay.simulator import Static
from replay.traces import of_requests


def dynamo_is_installed() -> bool:
    try:
        return importlib.util.find_spec("dynamo._core") is not None
    except ModuleNotFoundError:
        return False


needs_dynamo = pytest.mark.skipif(
    not dynamo_is_installed(), reason="needs Dynamo's runtime: pip install 'pd-planner[dynamo]'"
)
PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
ONE_PROMPT_AT_A_TIME = 0


def poisson(rate: float, seconds: float, *, prompt: float = 3000.0) -> Requests:
    """Prompts and answers with a lognormal spread of 1 and 0.8."""
    random = np.random.default_rng(7)
    count = random.poisson(rate * seconds)

    def lengths(mean: float, cv: float):
        sigma = np.sqrt(np.log1p(cv * cv))
        return np.ceil(random.lognormal(np.log(mean) - sigma**2 / 2, sigma, count))

    arrivals = np.sort(random.uniform(0, seconds, count))
    return Requests(arrivals, lengths(prompt, 1.0), lengths(150, 0.8), np.zeros(count))


def physics_of(*, budget: int, router: Router, quadratic: bool = True) -> Physics:
    """A fleet whose links no transfer shares for long, and whose KV memory never fills."""
    physics = Physics.from_profile(PROFILE, startup_seconds=PerRole(30.0, 30.0), router=router)
    law = physics.prefill
    curvature = law.seconds_per_squared_token if quadratic else 0.0
    return replace(
        physics,
        prefill=replace(law, token_budget=budget, seconds_per_squared_token=curvature),
        transfer=replace(physics.transfer, base_seconds=0.0),
    )


def scene_of(requests: Requests, physics: Physics, initial: PerRole[int]) -> Scene:
    return Scene(
        trace=of_requests("poisson", requests),
        physics=physics,
        truth=PROFILE,
        profile=PROFILE,
        settings=PolicySettings(),
        initial=initial,
    )


@needs_dynamo
@pytest.mark.parametrize(
    ("physics", "rate", "size"),
    [
        pytest.param(
            physics_of(budget=ONE_PROMPT_AT_A_TIME, router=Router.ROUND_ROBIN),
            *(20, PerRole(2, 2)),
            id="one-prompt-at-a-time",
        ),
        pytest.param(
            physics_of(budget=ONE_PROMPT_AT_A_TIME, router=Router.ROUND_ROBIN),
            *(30, PerRole(2, 2)),
            id="one-prompt-at-a-time-with-queues",
        ),
        pytest.param(
            physics_of(budget=8192, router=Router.ROUND_ROBIN, quadratic=False),
            *(35, PerRole(2, 2)),
            id="token-budget-with-queues",
        ),
        pytest.param(
            physics_of(budget=ONE_PROMPT_AT_A_TIME, router=Router.LEAST_LOADED),
            *(30, PerRole(2, 2)),
            id="one-central-queue",
        ),
        pytest.param(
            physics_of(budget=ONE_PROMPT_AT_A_TIME, router=Router.ROUND_ROBIN),
            *(20, PerRole(4, 1)),
            id="a-large-decode-batch",
        ),
    ],
)
def test_fixed_pools_give_the_same_latencies(physics, rate, size):
    scene = scene_of(poisson(rate, 120.0), physics, size)
    native, dynamo = (BACKENDS[name](scene, Static(size)).as_dict() for name in BACKENDS)
    assert native["requests"] == dynamo["requests"]
    assert native["unfinished_requests"] == dynamo["unfinished_requests"] == 0
    for latency in ("ttft", "itl"):
        for percentile in ("p50", "p95"):
            name = f"{latency}_{percentile}_seconds"
            assert dynamo[name] == pytest.approx(native[name], rel=0.1), name


@needs_dynamo
def test_our_engine_scales_a_fleet_there():
    calm, crowd = poisson(4, 300.0), poisson(60, 300.0)
    crowd = replace(crowd, arrival_seconds=crowd.arrival_seconds + 300.0)
    physics = physics_of(budget=8192, router=Router.LEAST_LOADED)
    scene = scene_of(Requests.concat((calm, crowd)), physics, PerRole(1, 1))
    steps = []
    score = BACKENDS["dynamo"](scene, Engine(PROFILE, scene.settings), on_step=steps.append)
    most = max(step.pools.prefill.ready_replicas for step in steps)
    assert most >= 3
    assert score.scaling_events > 0
    # Every replica is billed from the tick that asked for it.
    ready = [sum(pool.ready_replicas + pool.starting_replicas for pool in s.pools) for s in steps]
    assert score.gpu_hours == pytest.approx(sum(ready) * scene.tick_seconds / 3600, rel=0.05)
    # A starting replica ages by one tick a tick, from 10 s, and is ready after 30 s.
    ages = {age for step in steps for age in step.pools.prefill.starting_ages_seconds}
    assert {round(age) for age in ages} <= {10, 20, 30}
    assert ages


@needs_dynamo
def test_a_run_repeats():
    physics = physics_of(budget=8192, router=Router.LEAST_LOADED)
    scene = scene_of(poisson(20, 60.0), physics, PerRole(1, 1))
    engine = Engine(PROFILE, scene.settings)
    assert BACKENDS["dynamo"](scene, engine) == BACKENDS["dynamo"](scene, engine)


@needs_dynamo
def test_half_a_prompt_cached_takes_half_the_prefill():
    """The ids that stand for cached blocks let Dynamo find as much as our trace says."""
    requests = poisson(2, 300.0)
    cached = replace(requests, cached_tokens=np.floor(requests.input_tokens / 2))
    physics = physics_of(budget=8192, router=Router.ROUND_ROBIN, quadratic=False)
    physics = replace(
        physics,
        prefill=replace(physics.prefill, base_seconds=0.0),
        transfer=replace(physics.transfer, bytes_per_token=0.0),
    )
    without, half = (
        BACKENDS["dynamo"](scene_of(r, physics, PerRole(1, 1)), Static(PerRole(1, 1)))
        for r in (requests, cached)
    )
    decode_seconds = without.itl_p50_seconds
    assert half.ttft_p95_seconds - decode_seconds == pytest.approx(
        (without.ttft_p95_seconds - decode_seconds) / 2, rel=0.1
    )


@needs_dynamo
def test_what_cannot_finish_is_counted_as_missed():
    requests = poisson(2, 10.0)
    endless = replace(requests, output_tokens=np.full(len(requests), 2e6))
    physics = physics_of(budget=8192, router=Router.LEAST_LOADED)
    score = BACKENDS["dynamo"](scene_of(endless, physics, PerRole(1, 1)), Static(PerRole(1, 1)))
    assert score.unfinished_requests == score.requests == len(requests)
    assert score.joint_attainment == 0.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"scale_in": ScaleIn.KILL}, "always drains", id="kill"),
        pytest.param(
            {"startup_seconds": PerRole(StartUp(30.0), StartUp(30.0, 0.36))},
            "fixed start-up times",
            id="start-up-spread",
        ),
    ],
)
def test_what_dynamo_cannot_do_is_refused(change, said, tmp_path):
    physics = replace(physics_of(budget=8192, router=Router.LEAST_LOADED), **change)
    with pytest.raises(ValueError, match=said):
        arguments(physics, Workload(requests=1), tmp_path)


def test_the_timing_table_holds_our_laws(tmp_path):
    physics = physics_of(budget=ONE_PROMPT_AT_A_TIME, router=Router.ROUND_ROBIN)
    prefill, decode = physics.prefill, physics.decode
    arguments(physics, Workload(requests=1, longest_prompt_tokens=30_000), tmp_path)
    table = np.load(tmp_path / "timing.npz")
    one_prompt = np.interp(7000, table["prefill_isl"], table["prefill_ttft_ms"])
    assert one_prompt == pytest.approx(
        1000
        * (
            prefill.base_seconds
            + 7000 * prefill.seconds_per_token
            + 7000**2 * prefill.seconds_per_squared_token
        ),
        rel=1e-4,
    )
    grid = RegularGridInterpolator(
        (table["decode_active_kv_tokens"], table["decode_context_length"]), table["decode_itl"]
    )
    sequences, context = 40, 3100
    assert grid((sequences * context, context)) == pytest.approx(
        1000
        * (
            decode.base_seconds
            + sequences * decode.seconds_per_sequence
            + sequences * context * decode.seconds_per_context_token
        ),
        rel=1e-4,
    )


def test_with_a_token_budget_prefill_keeps_its_total_work(tmp_path):
    """Prompts of 1,000 and 3,000 new tokens, the second after 500 cached ones."""
    physics = physics_of(budget=8192, router=Router.ROUND_ROBIN)
    law = physics.prefill
    requests = Requests(
        np.array([0.0, 1.0]), np.array([1000.0, 3500.0]), np.ones(2), np.array([0.0, 500.0])
    )
    arguments(physics, Workload.of(requests), tmp_path)
    table = np.load(tmp_path / "timing.npz")
    both = np.interp(4000, table["prefill_isl"], table["prefill_ttft_ms"])
    squares = 1000**2 + 3500**2 - 500**2
    seconds = 4000 * law.seconds_per_token + squares * law.seconds_per_squared_token
    assert both == pytest.approx(1000 * (law.base_seconds + seconds))


def test_a_trace_is_written_with_its_prefix_hits(tmp_path):
    requests = Requests(
        np.array([2.5, 3.0]), np.array([300.0, 65.0]), np.array([7.0, 0.0]), np.array([200.0, 0.0])
    )
    path = tmp_path / "trace.jsonl"
    written = write(of_requests("two", requests), path)
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["timestamp"], first["input_length"], first["output_length"]) == (2500.0, 300, 7)
    assert first["hash_ids"][:3] == [0, 1, 2]
    assert len(first["hash_ids"]) == 5
    assert second["output_length"] == 1
    assert len(second["hash_ids"]) == 2
    assert not set(second["hash_ids"]) & set(first["hash_ids"])
    assert (written.requests, written.first_seconds, written.last_seconds) == (2, 2.5, 3.0)
    assert written.longest_prompt_tokens == 300
    assert written.has_prefix_hits


def snapshot(traffic: dict[str, float], **counts: object) -> dict[str, object]:
    """What Dynamo sends, with the keys that are read."""
    quiet = {
        "duration_s": 10.0,
        "num_req": 0,
        **dict.fromkeys(("avg_isl", "avg_osl", "avg_ttft_ms", "avg_itl_ms"), 0.0),
        **dict.fromkeys(("shape_count", "ttft_count", "itl_count", "hit_rate_count"), 0),
        "avg_kv_hit_rate": 0.0,
    }
    idle = {
        f"{kind}_{role}_{what}": nothing
        for kind in ("active", "starting", "draining")
        for role in Role
        for what, nothing in (("count", 0), ("ids", []))
    }
    return {
        "prefill_fpm_snapshots": [],
        "decode_fpm_snapshots": [],
        **idle,
        **counts,
        "traffic": {**quiet, **traffic},
    }


def test_what_no_request_has_shown_is_unknown():
    gauge = Gauge(window=Window(), kv_capacity_tokens=1000.0, input_length_cv=1.0)
    seen = gauge.observe(snapshot({"num_req": 40}), 10.0)
    assert seen.requests_per_second == 4.0
    assert seen.arrival_dispersion is None
    assert seen.input_tokens is seen.output_tokens_mean is seen.prefix_hit_fraction is None
    assert seen.ttft.mean_seconds is seen.itl.mean_seconds is None
    assert seen.kv_usage_fraction is seen.kv_transfer_backlog_requests is None


def test_means_are_weighted_by_what_they_are_of_and_forgotten_after_a_minute():
    gauge = Gauge(window=Window(), kv_capacity_tokens=1000.0, input_length_cv=1.0)
    gauge.observe(snapshot({"num_req": 30, "avg_ttft_ms": 100.0, "ttft_count": 30}), 10.0)
    seen = gauge.observe(snapshot({"num_req": 10, "avg_ttft_ms": 500.0, "ttft_count": 10}), 20.0)
    assert seen.requests_per_second == 2.0
    assert seen.ttft.mean_seconds == pytest.approx(0.2)
    for now in (30.0, 40.0, 50.0, 60.0):
        gauge.observe(snapshot({}), now)
    seen = gauge.observe(snapshot({}), 70.0)
    assert seen.requests_per_second == pytest.approx(10 / 60)
    assert seen.ttft.mean_seconds == pytest.approx(0.5)


def test_a_starting_worker_ages_from_when_it_was_asked_for():
    pools = Pools(PerRole(1, 1))
    pools.scale(PerRole(3, 1), 20.0)
    states = [
        pools.read(
            snapshot(
                {}, active_prefill_count=1, starting_prefill_count=2, starting_prefill_ids=[1, 2]
            ),
            now,
        ).prefill
        for now in (30.0, 40.0)
    ]
    assert [state.starting_ages_seconds for state in states] == [(10.0, 10.0), (20.0, 20.0)]
    assert states[0].desired_replicas == 3
    assert pools.scaling_events == 1


@pytest.mark.skipif(dynamo_is_installed(), reason="Dynamo's runtime is installed")
def test_without_the_wheel_the_error_says_how_to_get_it():
    physics = physics_of(budget=8192, router=Router.LEAST_LOADED)
    scene = scene_of(poisson(1, 10.0), physics, PerRole(1, 1))
    with pytest.raises(BackendMissingError, match=r"pip install 'pd-planner\[dynamo\]'"):
        BACKENDS["dynamo"](scene, Static(PerRole(1, 1)))
