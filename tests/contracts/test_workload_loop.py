"""The whole loop on a cluster: what is stuck is no supply, what is half done is finished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.clock import AcceleratedClock
from planner.kube import PODS, Json, Resource
from planner.loop import Loop, LoopSettings
from planner.metrics.scripted import ScriptedMetrics
from planner.store import MemoryStore
from planner.workloads.config import WorkloadConfig, make_workload
from policies.config import Guards, PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.profile import builtin
from policies.types import Decision, HoldReason, Observation, PerRole, Role

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
SETS = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets")
CONFIG = WorkloadConfig.model_validate(
    {
        "namespace": "llm",
        "prefill": {"kind": "LeaderWorkerSet", "name": "prefill"},
        "decode": {"kind": "LeaderWorkerSet", "name": "decode"},
    }
)
PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SETTINGS = PolicySettings(guards=Guards(scale_in_window_seconds=0))
BUSY = Observation(
    observed_at_seconds=NOW,
    window_seconds=60.0,
    requests_per_second=80.0,
    input_tokens=Lengths.lognormal(1155.0),
    output_tokens_mean=211.0,
)


def group_pods(role: Role, index: int, minute: int, *, ready: bool) -> list[Json]:
    """A leader and a worker; without a node when they are not ready."""
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    labels = {
        "leaderworkerset.sigs.k8s.io/name": str(role),
        "leaderworkerset.sigs.k8s.io/group-index": str(index),
    }
    return [
        {
            "metadata": {
                "namespace": "llm",
                "name": f"{role}-{index}-{worker}",
                "labels": labels,
                "creationTimestamp": f"2023-11-14T22:{minute:02}:20Z",
            },
            "spec": {},
            "status": {
                "conditions": [
                    {"type": "Ready", "status": str(ready)},
                    *(() if ready else (unschedulable,)),
                ]
            },
        }
        for worker in range(2)
    ]


@pytest.fixture
def cluster(api_server):
    """Two LeaderWorkerSets of one group of two pods each, of one GPU per pod."""
    server, kube = api_server
    server.serve(SETS, scale=True)
    pod = {"containers": [{"resources": {"limits": {"nvidia.com/gpu": "1"}}}]}
    template = {"size": 2, "workerTemplate": {"spec": pod}}
    for role in Role:
        counts = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1}
        meta = {"namespace": "llm", "name": str(role)}
        spec = {"replicas": 1, "leaderWorkerTemplate": template}
        server.put(SETS, {"metadata": meta, "spec": spec, "status": counts})
        for each in group_pods(role, 0, 0, ready=True):
            server.put(PODS, each)
    return server, kube


def loop_on(kube, *observations: Observation, act: bool = True, store=None) -> Loop:
    workload = make_workload(CONFIG, kube)
    return Loop(
        metrics=ScriptedMetrics(list(observations)),
        workload=workload,
        clock=AcceleratedClock(),
        engine=Engine(PROFILE, SETTINGS),
        settings=LoopSettings(act=act),
        store=store,
        memory=store.load() if store else Loop.__dataclass_fields__["memory"].default_factory(),
        listeners=(workload.heed,),
    )


def at(seconds: float) -> Observation:
    return replace(BUSY, observed_at_seconds=NOW + seconds)


def promised(decision: Decision) -> float:
    """Share of the requests planned for that is expected to meet both objectives."""
    return decision.prospect.planned.joint_attainment


def desired(server) -> PerRole[int]:
    return PerRole.of(lambda role: server.at(SETS, str(role))["spec"]["replicas"])


async def test_groups_that_stay_unschedulable_are_no_supply_and_the_plan_is_solved_anew(cluster):
    server, kube = cluster
    loop = loop_on(kube, at(0), at(60), at(240), at(300))
    wanted = (await loop.tick(NOW)).decision.target
    assert desired(server) == wanted
    assert wanted.decode > 2
    # Decode's new groups find no GPUs; prefill's are ready within the minute.
    for role in Role:
        for index in range(1, wanted[role]):
            for pod in group_pods(role, index, 13, ready=role is Role.PREFILL):
                server.put(PODS, pod)
    server.at(SETS, "prefill")["status"]["readyReplicas"] = wanted.prefill

    waiting = await loop.tick(NOW + 60)
    assert waiting.pools.decode.starting_replicas == wanted.decode - 1
    assert waiting.decision.target == wanted

    stuck = (await loop.tick(NOW + 240)).decision
    assert any(
        f"{wanted.decode - 1} of {wanted.decode} replicas are stuck" in n for n in stuck.notes
    )
    assert any("Unschedulable" in note for note in stuck.notes)
    # Solved anew for one decode replica: no more is asked for, and less is promised.
    assert stuck.target.decode == wanted.decode
    assert stuck.target.prefill <= wanted.prefill
    assert promised(stuck) < promised(waiting.decision)

    for index in range(1, wanted.decode):
        for pod in group_pods(Role.DECODE, index, 13, ready=True):
            server.put(PODS, pod)
    server.at(SETS, "decode")["status"]["readyReplicas"] = wanted.decode
    healed = (await loop.tick(NOW + 300)).decision
    assert healed.target == wanted
    assert promised(healed) == promised(waiting.decision)


async def test_a_crash_between_the_two_writes_is_seen_and_finished_by_the_next_planner(
    cluster, tmp_path: Path
):
    server, kube = cluster
    store = MemoryStore(tmp_path / "memory.json")
    server.after_patch = lambda *_: setattr(server, "hang", "PATCH")
    loop = loop_on(kube, at(0), store=store)
    loop.settings = LoopSettings(act=True, deadline_seconds=0.5)
    wanted = (await loop.tick(NOW)).decision.target  # cut off: as good as a crash
    assert sorted(desired(server)) != sorted(wanted)
    assert 1 in desired(server)
    server.hang = server.after_patch = None

    blind = Observation(observed_at_seconds=NOW + 10, window_seconds=60.0)
    record = await loop_on(kube, blind, store=store).tick(NOW + 10)
    assert desired(server) == wanted
    assert any("is 1 instead of" in note for note in record.decision.notes)


async def test_who_follows_the_advice_is_not_held_against(cluster):
    server, kube = cluster
    loop = loop_on(kube, at(0), at(10), at(20), act=False)
    advised = (await loop.tick(NOW)).decision.target
    for role in Role:
        server.at(SETS, str(role))["spec"]["replicas"] = advised[role]
        server.touch(server.at(SETS, str(role)))
    followed = (await loop.tick(NOW + 10)).decision
    assert followed.hold.reason is HoldReason.ALREADY_RIGHT
    server.at(SETS, "decode")["spec"]["replicas"] = advised.decode + 3
    server.touch(server.at(SETS, "decode"))
    objected = (await loop.tick(NOW + 20)).decision
    assert objected.hold.reason is HoldReason.OTHER_WRITER
