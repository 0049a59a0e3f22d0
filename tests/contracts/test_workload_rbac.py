"""The Role that ships is exactly what the code needs: enough, and nothing to spare."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from workload_scene import pods_of
from workload_scenes import SCENES

from planner.__main__ import main
from planner.journal import Record
from planner.kube import PODS
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.deletion import COST
from planner.workloads.deployment import Deployment
from planner.workloads.notices import Notices
from policies.types import Decision, Hold, HoldReason, Observation, PerRole, PoolState

DEPLOY = Path(__file__).parents[2] / "deploy"


def _shipped(name: str) -> list[dict]:
    return next(yaml.safe_load_all((DEPLOY / "access" / name).read_text()))["rules"]


ADVISING = _shipped("role.yaml")
RULES = ADVISING + _shipped("role-act.yaml")
CONFIG = {
    "namespace": "llm",
    "prefill": {"kind": "Deployment", "name": "p"},
    "decode": {"kind": "Deployment", "name": "d"},
}


async def _works(api_server, rules) -> bool:
    server, kube = api_server
    server.serve(Deployment.resource, scale=True)
    for name in ("p", "d"):
        spec = {"replicas": 2, "selector": {"matchLabels": {"app": name}}}
        meta = {"namespace": "llm", "name": name}
        server.put(Deployment.resource, {"metadata": meta, "spec": spec, "status": {}})
    server.granted = rules
    config = WorkloadConfig.model_validate(CONFIG)
    workload, notices = make_workload(config, kube), Notices(kube, config)
    for each in pods_of(SCENES["deployment"]):
        each["metadata"]["labels"] = {"app": each["metadata"]["name"][0]}
        server.put(PODS, each)
    pools = await workload.read(0.0)
    failures = await workload.scale(PerRole(3, 1))
    marked = [
        key for key, found in server.objects.items() if COST in str(found) and key[1] == "pods"
    ]
    hold = Hold(HoldReason.ALREADY_RIGHT, "fits")
    decision = Decision(decided_at_seconds=0.0, current=None, target=None, hold=hold)
    observation = Observation(observed_at_seconds=0.0, window_seconds=60.0)
    notices(Record(observation=observation, pools=pools, decision=decision))
    await notices.settle()
    told = [key for key in server.objects if key[1] == "events"]
    return (
        all(isinstance(pool, PoolState) for pool in pools)
        and not failures
        and len(told) == 2
        and len(marked) == 1
    )


def _grants(rules: list[dict]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize(("mode", "rules"), [("advise", ADVISING), ("act", RULES)])
def test_the_role_is_the_one_that_the_command_prints(tmp_path, capsys, mode, rules):
    settings = yaml.safe_load((DEPLOY / "settings" / "planner.yaml").read_text())
    file = tmp_path / "planner.yaml"
    file.write_text(yaml.safe_dump({**settings, "mode": mode}))
    assert main(["rbac", "-c", str(file)]) == 0
    printed, _ = yaml.safe_load_all(capsys.readouterr().out)
    assert _grants(printed["rules"]) == _grants(rules)


def test_advice_takes_nothing_but_reading():
    assert {verb for *_, verb in _grants(ADVISING)} == {"get", "list"}


async def test_the_role_is_enough(api_server):
    assert await _works(api_server, RULES)


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param(
            [
                *(other for other in RULES if other is not rule),
                {**rule, "verbs": [each for each in rule["verbs"] if each != verb]},
            ],
            id=f"without-{verb}-{rule['resources'][0]}",
        )
        for rule in RULES
        for verb in rule["verbs"]
    ],
)
async def test_nothing_in_the_role_is_spare(api_server, rules):
    assert not await _works(api_server, rules)
