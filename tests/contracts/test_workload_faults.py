"""Every kind, when the server fails it: a failure is a value, and the next tick repairs it."""

from __future__ import annotations

import copy

import pytest
from conftest import stages_of
from workload_scene import pods_of
from workload_scenes import SCENES

from policies.types import PerRole, PoolState, Role, Unavailable

# Faults are made on the double alone: a real server cannot be told to fail.
DOUBLES = [each for each in stages_of(*SCENES) if each.values[0][0] == "double"]
IN_TWO_WRITES = [each for each in DOUBLES if len(SCENES[each.values[0][1]].writes) == 2]
IN_ONE_WRITE = [each for each in DOUBLES if len(SCENES[each.values[0][1]].writes) == 1]
every_kind = pytest.mark.parametrize("bare", DOUBLES, indirect=True)
AT_ONCE = {"Retry-After": "0"}
TOO_LATE = {"Retry-After": "60"}
CODES = {401: {}, 403: {}, 404: {}, 409: {}, 422: {}, 429: TOO_LATE, 500: AT_ONCE}
OBJECTS = "GET .*/namespaces/llm/[a-z]+/m"


@every_kind
async def test_a_change_takes_the_writes_that_the_kind_allows_in_their_order(stage) -> None:
    """One request where one object holds both counts, else the larger growth first."""
    await stage.read()
    assert await stage.workload.scale(PerRole(4, 7)) == ()
    paths = [path.partition("/namespaces/llm/")[2] for path, _ in stage.server.writes()]
    assert tuple(paths) == stage.scene.writes


@every_kind
async def test_a_failing_read_is_a_value(stage) -> None:
    for code, headers in CODES.items():
        for _ in range(6):
            stage.server.fail(OBJECTS, code, "broken", **headers)
        pools = await stage.read()
        assert all(isinstance(pool, Unavailable) and pool.why for pool in pools), code
        stage.server.faults.clear()
        assert all(isinstance(pool, PoolState) for pool in await stage.read()), code


@every_kind
async def test_a_refused_write_is_a_failure_and_the_next_tick_repairs_it(stage) -> None:
    for code, headers in CODES.items():
        await stage.read()
        for _ in range(6):
            stage.server.fail("PATCH", code, "refused", **headers)
        failures = await stage.workload.scale(PerRole(4, 5))
        assert {failure.role for failure in failures} == set(Role), code
        assert all(failure.why for failure in failures), code
        assert await stage.counts() == PerRole(2, 3), code
        stage.server.faults.clear()
    pools = await stage.read()
    assert not any(pool.other_writer for pool in pools)
    assert await stage.workload.scale(PerRole(4, 5)) == ()
    assert await stage.counts() == PerRole(4, 5)


@every_kind
async def test_a_passing_outage_is_waited_out(stage) -> None:
    for wanted, code in ((4, 429), (5, 500), (6, 503)):
        stage.server.fail(OBJECTS, code, **AT_ONCE)
        assert all(isinstance(pool, PoolState) for pool in await stage.read()), code
        stage.server.fail("PATCH", code, **AT_ONCE)
        assert await stage.workload.scale(PerRole(wanted, wanted)) == (), code
        assert await stage.counts() == PerRole(wanted, wanted), code


@every_kind
@pytest.mark.slow
@pytest.mark.parametrize("deadline_seconds", [0.4])
async def test_a_server_that_never_answers_costs_one_deadline(stage, deadline_seconds) -> None:
    await stage.read()
    stage.server.hang = "PATCH"
    failures = await stage.workload.scale(PerRole(2, 5))
    assert ["no answer" in failure.why for failure in failures] == [True]
    stage.server.hang = OBJECTS
    within = f"no answer from the API server within {deadline_seconds} s"
    assert all(within in pool.why for pool in await stage.read())
    stage.server.hang = None
    await stage.read()
    assert await stage.workload.scale(PerRole(2, 5)) == ()


@pytest.mark.parametrize("bare", IN_TWO_WRITES, indirect=True)
async def test_a_half_applied_pair_is_seen_and_repaired(stage) -> None:
    await stage.read()
    second = stage.scene.writes[1]
    stage.server.fail(f"PATCH .*{second}", 422, "admission webhook denied it")
    (failure,) = await stage.workload.scale(PerRole(4, 7))
    assert failure.role is Role.PREFILL
    assert "denied it" in failure.why
    assert await stage.counts() == PerRole(2, 7)
    pools = await stage.read()
    assert pools.map(lambda pool: pool.desired_replicas) == PerRole(2, 7)
    assert await stage.workload.scale(PerRole(4, 7)) == ()
    assert await stage.counts() == PerRole(4, 7)


@pytest.mark.parametrize("bare", IN_ONE_WRITE, indirect=True)
async def test_one_object_is_never_half_written(stage) -> None:
    await stage.read()
    stage.server.fail("PATCH", 422, "admission webhook denied it")
    stage.server.fail("PATCH", 422, "admission webhook denied it")
    failures = await stage.workload.scale(PerRole(4, 7))
    assert {failure.role for failure in failures} == set(Role)
    assert await stage.counts() == PerRole(2, 3)


@every_kind
async def test_a_stale_cache_overwrites_nobody_and_makes_no_stranger_of_us(stage) -> None:
    await stage.read()
    past = copy.deepcopy(stage.server.objects)
    assert await stage.workload.scale(PerRole(2, 9)) == ()
    stage.server.stale = past  # reads still show 3 decode replicas
    pools = await stage.read()
    assert pools.decode.desired_replicas == 3
    (failure,) = await stage.workload.scale(PerRole(2, 5))
    assert failure.role is Role.DECODE
    assert (await stage.counts()).decode == 9
    stage.server.stale = {}
    assert (await stage.read()).decode.other_writer is None


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/9 nodes are available: 9 Insufficient nvidia.com/gpu.",
}


@every_kind
async def test_what_stays_unschedulable_is_one_stuck_replica_and_says_why(stage) -> None:
    pods = pods_of(stage.scene)
    victim = next(pod for pod in pods if pod["metadata"]["name"].startswith("decode-0"))
    victim["status"]["conditions"] = [{"type": "Ready", "status": "False"}, UNSCHEDULABLE]
    await stage.pods(pods)
    pools = await stage.read()
    assert (pools.prefill.stuck_replicas, pools.decode.stuck_replicas) == (0, 1)
    assert pools.decode.starting_replicas == 0
    assert any("Insufficient nvidia.com/gpu" in why for why in pools.decode.problems)


@every_kind
async def test_the_lead_time_is_that_of_a_whole_replica_one_pod_after_the_other(stage) -> None:
    await stage.pods(pods_of(stage.scene))
    pools = await stage.read()
    assert pools.decode.startup_seconds_p90 == 120.0 * stage.scene.size
