"""Before a scale-in the pods that are missed least are marked, where the controller looks at it."""

from __future__ import annotations

import copy

import pytest
from workload_scene import pods_of
from workload_scenes import SCENES

from planner.kube import PODS, Json
from planner.metrics.evaluator import Answers
from planner.metrics.pod_work import PodWork
from planner.metrics.preset import Selection
from planner.metrics.presets import PRESETS
from planner.metrics.vector import Sample
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.deletion import COST, marks
from planner.workloads.permissions import access_for
from policies.types import PerRole, Role

NOW = 1_700_000_000.0
MARK = marks([{"metadata": {"name": "a"}, "status": {}}], 1, {})[0][1]
OBEYED = {"deployment", "llminferenceservice-owner", "llminferenceservice-child"}


def pod(name: str, minute: int, *, ready: bool = True, cost: str | None = None) -> Json:
    annotations = {COST: cost} if cost else {}
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": f"2023-11-14T22:{minute:02}:00Z",
            "annotations": annotations,
        },
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


OLD, MIDDLE, YOUNG = pod("old", 0), pod("middle", 5), pod("young", 9)


@pytest.mark.parametrize(
    ("pods", "surplus", "work", "expected"),
    [
        pytest.param([OLD, YOUNG, MIDDLE], 2, {}, {"young": MARK, "middle": MARK}, id="youngest"),
        pytest.param(
            [OLD, MIDDLE, YOUNG],
            1,
            {"old": 1.0, "middle": 2.0, "young": 3.0},
            {"old": MARK},
            id="least-work",
        ),
        pytest.param(
            [OLD, MIDDLE, YOUNG],
            2,
            {"middle": 9.0},
            {"middle": MARK, "young": MARK},
            id="unknown-work-is-not-none",
        ),
        pytest.param(
            [pod("loading", 0, ready=False), MIDDLE, YOUNG],
            1,
            {"young": 0.0},
            {"loading": MARK},
            id="not-ready-first",
        ),
        pytest.param(
            [pod("old", 0, cost=MARK), MIDDLE, YOUNG],
            1,
            {},
            {"young": MARK, "old": None},
            id="an-older-mark-is-taken-back",
        ),
        pytest.param([pod("old", 0, cost=MARK), YOUNG], 0, {}, {"old": None}, id="nobody"),
        pytest.param([pod("old", 0, cost="7"), YOUNG], 1, {}, {}, id="somebody-else-s-order"),
        pytest.param([pod("young", 9, cost=MARK), OLD], 1, {}, {}, id="already-marked"),
    ],
)
def test_who_is_marked(pods, surplus, work, expected):
    found = {each["metadata"]["name"]: cost for each, cost in marks(pods, surplus, work)}
    assert found == expected


def scene_with_pods(server, name: str) -> WorkloadConfig:
    scene = copy.deepcopy(SCENES[name])
    server.scalable |= set(scene.scalable)
    for resource, found in scene.objects:
        server.put(resource, found)
    for each in pods_of(scene):
        server.put(PODS, each)
    config = WorkloadConfig.model_validate({"namespace": "llm", **scene.pools})
    server.granted = access_for(config, "pd-planner", "llm")[0]["rules"]
    return config


def marked(server) -> set[str]:
    return {
        key[3]
        for key, found in server.objects.items()
        if key[1] == "pods" and COST in (found["metadata"].get("annotations") or {})
    }


async def busy(_now_seconds: float) -> dict[str, float]:
    return {"decode-0": 1.0, "decode-1": 5.0, "decode-2": 3.0}


@pytest.mark.parametrize("name", SCENES)
async def test_only_a_replica_set_s_pods_are_marked_and_before_the_write(api_server, name):
    server, kube = api_server
    config = scene_with_pods(server, name)
    workload = make_workload(config, kube, PerRole(busy, busy))
    await workload.read(NOW)
    floor = SCENES[name].floor
    assert await workload.scale(PerRole(2, max(2, floor))) == ()
    assert marked(server) == ({"decode-0"} if name in OBEYED else set())
    paths = [path for path, _ in server.writes()]
    assert "/pods/" not in paths[-1]


@pytest.mark.parametrize(
    "target", [pytest.param(PerRole(2, 3), id="equal"), pytest.param(PerRole(2, 5), id="out")]
)
async def test_without_a_scale_in_nobody_is_marked(api_server, target):
    server, kube = api_server
    config = scene_with_pods(server, "deployment")
    workload = make_workload(config, kube)
    await workload.read(NOW)
    await workload.scale(target)
    assert marked(server) == set()


@pytest.mark.parametrize("code", [403, 404, 409, 422, 429, 500])
async def test_a_pod_that_cannot_be_marked_costs_no_scale_in(api_server, code):
    server, kube = api_server
    config = scene_with_pods(server, "deployment")
    workload = make_workload(config, kube)
    await workload.read(NOW)
    for _ in range(3):
        server.fail("PATCH .*/pods/", code, **{"Retry-After": "0"})
    assert await workload.scale(PerRole(2, 2)) == ()
    assert SCENES["deployment"].counts(server, Role.DECODE) == 2
    assert marked(server) == set()


class Answering:
    """Answers each query with a value per pod, in the order in which they are asked."""

    def __init__(self, *vectors: dict[str, float]) -> None:
        self.vectors = list(vectors)
        self.asked: list[str] = []

    async def evaluate(self, expressions, at_seconds) -> Answers:
        self.asked += expressions.values()
        found = {
            name: tuple(Sample({"pod": pod}, value) for pod, value in vector.items())
            for name, vector in zip(expressions, self.vectors, strict=False)
        }
        return Answers(found)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "custom"])
async def test_every_preset_tells_the_work_of_each_pod(preset):
    selection = Selection(
        labels={}, model="m", window_seconds=60.0, prefill_pods="p.*", decode_pods="d.*"
    )
    evaluator = Answering({"d-0": 2.0, "d-1": 0.0})
    work = PodWork(evaluator, PRESETS[preset], selection)
    assert await work.read(Role.DECODE, NOW) == {"d-0": 2.0, "d-1": 0.0}
    assert all("sum by (pod) (" in query for query in evaluator.asked)
