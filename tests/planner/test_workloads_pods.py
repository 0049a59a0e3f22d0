"""What pods tell about a pool."""

from __future__ import annotations

import pytest

from planner.workloads.kind import PodSet, pod_gpus, selector_text
from planner.workloads.pods import take_census

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
SINGLE = PodSet(selector="app=x")
PAIRS = PodSet(selector="app=x", gang_labels=("group",), pods_per_replica=2)


def pod(name: str, created: str, *, ready: str | None = None, group: str = "", **more) -> dict:
    """A pod created at a time of 2023-11-14, and ready since another."""
    conditions = [
        {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": f"2023-11-14T{ready or created}Z",
        },
        *more.pop("conditions", []),
    ]
    meta = {"name": name, "creationTimestamp": f"2023-11-14T{created}Z"}
    if group:
        meta["labels"] = {"group": group}
    if more.pop("deleted", False):
        meta["deletionTimestamp"] = "2023-11-14T22:13:00Z"
    status = {"phase": more.pop("phase", "Running"), "conditions": conditions, **more}
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    return {"metadata": meta, "status": status, "spec": {"containers": [{"resources": limits}]}}


def waiting(reason: str) -> dict:
    return {"containerStatuses": [{"state": {"waiting": {"reason": reason}}, "restartCount": 0}]}


UNSCHEDULABLE = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/4"}
    ]
}


@pytest.mark.parametrize(
    ("pods", "pod_set", "ready", "ages", "draining", "stuck"),
    [
        pytest.param([], SINGLE, 0, (), 0, 0, id="none"),
        pytest.param([pod("a", "22:00:00", ready="22:03:00")], SINGLE, 1, (), 0, 0, id="ready"),
        pytest.param([pod("a", "22:13:00")], SINGLE, 0, (20.0,), 0, 0, id="starting"),
        pytest.param(
            [pod("a", "22:00:00", ready="22:03:00", deleted=True)], SINGLE, 0, (), 1, 0, id="drains"
        ),
        pytest.param([pod("a", "22:00:00", phase="Failed")], SINGLE, 0, (), 0, 0, id="evicted"),
        pytest.param(
            [pod("a", "22:13:00", **waiting("ImagePullBackOff"))], SINGLE, 0, (), 0, 1, id="image"
        ),
        pytest.param(
            [pod("a", "22:13:00", **waiting("ContainerCreating"))],
            SINGLE,
            0,
            (20.0,),
            0,
            0,
            id="creating",
        ),
        pytest.param(
            [pod("a", "22:13:00", **UNSCHEDULABLE)], SINGLE, 0, (20.0,), 0, 0, id="pending-briefly"
        ),
        pytest.param(
            [pod("a", "22:00:00", **UNSCHEDULABLE)], SINGLE, 0, (), 0, 1, id="pending-for-long"
        ),
        pytest.param(
            [pod("a", "22:00:00", ready="22:03:00", group="0")],
            PAIRS,
            0,
            (800.0,),
            0,
            0,
            id="half-a-gang-is-starting",
        ),
        pytest.param(
            [
                pod("a", "22:00:00", ready="22:03:00", group="0"),
                pod("b", "22:01:00", ready="22:05:00", group="0"),
                pod("c", "22:13:00", group="1"),
                pod("d", "22:12:50", ready="22:13:00", group="1"),
            ],
            PAIRS,
            1,
            (30.0,),
            0,
            0,
            id="gangs-count-whole",
        ),
    ],
)
def test_replicas_are_counted_by_what_their_pods_do(pods, pod_set, ready, ages, draining, stuck):
    census = take_census(pods, pod_set, NOW, stuck_after_seconds=180.0)
    assert (census.ready, census.starting_ages_seconds) == (ready, ages)
    assert (census.draining, len(census.stuck)) == (draining, stuck)


def test_a_stuck_replica_says_why():
    census = take_census([pod("a", "22:00:00", **UNSCHEDULABLE)], SINGLE, NOW, 180.0)
    assert census.stuck == ("pod a: Unschedulable: 0/4",)


def test_a_gang_starts_from_its_first_pod_to_its_last_readiness():
    gang = [
        pod("a", "22:00:00", ready="22:03:00", group="0"),
        pod("b", "22:01:00", ready="22:05:00", group="0"),
    ]
    census = take_census(gang, PAIRS, NOW, 180.0)
    assert census.startup_seconds == (300.0,)
    assert census.gpus_per_replica == 4


def test_a_restart_tells_nothing_about_starting():
    restarted = pod("a", "22:00:00", ready="22:10:00", containerStatuses=[{"restartCount": 1}])
    assert take_census([restarted], SINGLE, NOW, 180.0).startup_seconds_p90 is None


def test_the_90th_percentile_of_ten_starts_is_the_ninth():
    pods = [pod(str(n), "22:00:00", ready=f"22:0{n}:00") for n in range(10)]
    assert take_census(pods, SINGLE, NOW, 180.0).startup_seconds_p90 == 480.0


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        pytest.param({"matchLabels": {"a": "b", "c": "d"}}, "a=b,c=d", id="labels"),
        pytest.param(
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]},
            "a in (b,c)",
            id="in",
        ),
        pytest.param(
            {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a", id="absent"
        ),
    ],
)
def test_a_selector_is_written_as_requests_take_it(selector, text):
    assert selector_text(selector) == text


def test_gpus_that_no_container_names_are_unknown_and_not_zero():
    assert pod_gpus({"containers": [{"resources": {"limits": {"cpu": "4"}}}]}) is None
    assert pod_gpus(None) is None
