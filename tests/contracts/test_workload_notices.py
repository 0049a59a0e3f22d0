"""Events on the pools: news once, nothing twice, and never a tick lost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from planner.front_end import RouterTick
from planner.journal import Record
from planner.ports import WriteFailure
from planner.workloads.config import WorkloadConfig
from planner.workloads.deployment import Deployment
from planner.workloads.notices import ANNOTATION, Notices
from policies.router import RouterDecision
from policies.types import (
    Decision,
    Hold,
    HoldReason,
    Observation,
    PerRole,
    PoolState,
    Role,
    Unavailable,
)

CONFIG = {
    "namespace": "llm",
    "prefill": {"kind": "Deployment", "name": "p"},
    "decode": {"kind": "Deployment", "name": "d"},
}


def record(
    target: PerRole[int] | None = None,
    hold: Hold | None = None,
    failures: tuple[WriteFailure, ...] = (),
) -> Record:
    return Record(
        observation=Observation(observed_at_seconds=0.0, window_seconds=60.0),
        pools=PerRole(Unavailable("-"), Unavailable("-")),
        decision=Decision(
            decided_at_seconds=1_700_000_000.0, current=PerRole(2, 3), target=target, hold=hold
        ),
        applied=target is not None,
        failures=failures,
    )


def held(reason: HoldReason, at: float = 0.0) -> Record:
    decision = record(hold=Hold(reason, "")).decision
    return replace(record(), decision=replace(decision, decided_at_seconds=1.7e9 + at))


def events(server) -> list[dict]:
    return [found for key, found in server.objects.items() if key[1] == "events"]


def told(server) -> list[tuple[str, str]]:
    return sorted((each["involvedObject"]["name"], each["reason"]) for each in events(server))


@pytest.fixture
def notices(api_server):
    server, kube = api_server
    return server, Notices(kube, WorkloadConfig.model_validate(CONFIG))


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([record(PerRole(2, 5))], [("d", "Scaled")], id="a-change-of-one"),
        pytest.param(
            [record(PerRole(1, 5))], [("d", "Scaled"), ("p", "Scaled")], id="a-change-of-both"
        ),
        pytest.param(
            [record(PerRole(2, 5), failures=(WriteFailure(Role.DECODE, "refused"),))],
            [("d", "ScaleFailed")],
            id="a-failure",
        ),
        pytest.param(
            [
                record(hold=Hold(HoldReason.METRICS_STALE, "61 s old")),
                record(hold=Hold(HoldReason.METRICS_STALE, "71 s old")),
            ],
            [("d", "HoldMetricsStale"), ("p", "HoldMetricsStale")],
            id="the-same-hold-once",
        ),
        pytest.param(
            [
                held(HoldReason.ALREADY_RIGHT),
                held(HoldReason.SCALE_IN_STABILISING, 10),
                held(HoldReason.ALREADY_RIGHT, 20),
                held(HoldReason.SCALE_IN_STABILISING, 30),
            ],
            [
                ("d", "HoldAlreadyRight"),
                ("d", "HoldScaleInStabilising"),
                ("p", "HoldAlreadyRight"),
                ("p", "HoldScaleInStabilising"),
            ],
            id="to-and-fro-is-no-news",
        ),
        pytest.param(
            [held(HoldReason.ALREADY_RIGHT), held(HoldReason.ALREADY_RIGHT, 3600)],
            [("d", "HoldAlreadyRight")] * 2 + [("p", "HoldAlreadyRight")] * 2,
            id="an-event-lives-for-an-hour",
        ),
        pytest.param(
            [
                record(hold=Hold(HoldReason.ALREADY_RIGHT, "")),
                record(PerRole(2, 5)),
                record(hold=Hold(HoldReason.ALREADY_RIGHT, "")),
            ],
            [
                ("d", "HoldAlreadyRight"),
                ("d", "HoldAlreadyRight"),
                ("d", "Scaled"),
                ("p", "HoldAlreadyRight"),
            ],
            id="a-hold-after-a-change-is-news",
        ),
    ],
)
async def test_only_news_is_told(notices, records, expected):
    server, tell = notices
    for each in records:
        tell(each)
        await tell.settle()
    assert told(server) == expected


def router_turn(**of: object) -> Record:
    decision = RouterDecision(decided_at_seconds=1.7e9, current=2, **of)
    pool = PoolState(desired_replicas=2, ready_replicas=2)
    applied = decision.changes
    failure = "refused" if of.get("target") == 9 else None
    turn = RouterTick(pool=pool, decision=decision, applied=applied, failure=failure)
    return replace(held(HoldReason.ALREADY_RIGHT), router=turn)


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        pytest.param(router_turn(target=4), "Scaled", id="scaled"),
        pytest.param(router_turn(target=9), "ScaleFailed", id="failed"),
        pytest.param(
            router_turn(target=2, hold=Hold(HoldReason.OTHER_WRITER, "HPA")),
            "HoldOtherWriter",
            id="held",
        ),
    ],
)
async def test_a_front_end_s_news_are_told_on_it(api_server, turn, reason):
    server, kube = api_server
    router = {"kind": "StatefulSet", "name": "front"}
    tell = Notices(kube, WorkloadConfig.model_validate({**CONFIG, "router": router}))
    tell(turn)
    tell(turn)
    await tell.settle()
    assert [each for each in told(server) if each[0] == "front"] == [("front", reason)]


async def test_a_server_that_refuses_events_costs_nothing(notices):
    server, tell = notices
    server.granted = []
    tell(record(PerRole(2, 5)))
    await tell.settle()
    assert told(server) == []


async def test_the_last_decision_is_annotated_when_asked_for(api_server):
    server, kube = api_server
    meta = {"namespace": "llm", "name": "d", "annotations": {"kept": "yes"}}
    server.put(Deployment.resource, {"metadata": meta, "spec": {"replicas": 3}, "status": {}})
    config = WorkloadConfig.model_validate({**CONFIG, "notices": {"annotate": True}})
    tell = Notices(kube, config)
    tell(record(PerRole(2, 5)))
    await tell.settle()
    annotations = server.at(Deployment.resource, "d")["metadata"]["annotations"]
    assert json.loads(annotations[ANNOTATION])["message"] == "decode from 3 to 5 replicas"
    assert annotations["kept"] == "yes"


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        pytest.param(record(PerRole(2, 5)), "Normal", id="a-change"),
        pytest.param(held(HoldReason.SCALE_IN_STABILISING), "Normal", id="a-hold"),
        pytest.param(held(HoldReason.METRICS_STALE), "Warning", id="blind"),
        pytest.param(
            record(PerRole(2, 5), failures=(WriteFailure(Role.DECODE, "refused"),)),
            "Warning",
            id="a-failure",
        ),
    ],
)
async def test_what_somebody_should_look_at_is_a_warning(notices, given, kind):
    server, tell = notices
    tell(given)
    await tell.settle()
    assert {event["type"] for event in events(server)} == {kind}
