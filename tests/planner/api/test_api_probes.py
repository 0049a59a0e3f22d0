"""What Kubernetes and Prometheus see."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from planner.api.app import make_app
from planner.journal import Record
from policies.types import Decision, Hold, HoldReason, Observation, PerRole, PoolState, Unavailable

POOL = PoolState(desired_replicas=1, ready_replicas=1)
KNOWN = Record(
    observation=Observation(observed_at_seconds=0.0, window_seconds=60.0, requests_per_second=1.0),
    pools=PerRole(POOL, POOL),
    decision=Decision(
        decided_at_seconds=0.0,
        current=PerRole(1, 1),
        target=PerRole(1, 1),
        hold=Hold(HoldReason.ALREADY_RIGHT, "right"),
    ),
)
NO_DEMAND = replace(
    KNOWN,
    observation=Observation(
        observed_at_seconds=0.0, window_seconds=60.0, problems=("prometheus refused",)
    ),
)
NO_POOL = replace(KNOWN, pools=PerRole(POOL, Unavailable("403 Forbidden")))


async def get(view, path: str):
    async with TestClient(TestServer(make_app(view))) as client:
        answer = await client.get(path)
        return answer.status, await answer.json()


async def test_alive_while_the_first_tick_is_awaited_and_dead_when_it_never_comes(view, clock):
    async with TestClient(TestServer(make_app(view))) as client:
        clock.now = 170.0
        assert (await client.get("/livez")).status == 200
        clock.now = 190.0
        answer = await client.get("/livez")
        assert answer.status == 503
        assert await answer.json() == {
            "ok": False,
            "why": "no tick yet; started 190 s ago; 180 s are allowed",
        }


@pytest.mark.parametrize(
    ("age_seconds", "status", "why"),
    [
        pytest.param(60.0, 200, "the last tick was 60 s ago", id="on-time"),
        pytest.param(180.0, 200, "the last tick was 180 s ago", id="three-ticks-missed"),
        pytest.param(
            181.0, 503, "the last tick was 181 s ago; 180 s are allowed", id="loop-stopped"
        ),
    ],
)
async def test_alive_while_the_loop_ticks(view, clock, age_seconds, status, why):
    view.journal.append(KNOWN)
    clock.now = age_seconds
    answered, body = await get(view, "/livez")
    assert (answered, body["why"]) == (status, why)


async def test_alive_while_every_port_answers_just_in_time(view, clock):
    view.journal.append(KNOWN)
    clock.now = 181.0
    slow = replace(view, longest_tick_seconds=64.0)
    assert (await get(slow, "/livez"))[0] == 200
    clock.now = 193.0
    assert (await get(slow, "/livez"))[0] == 503


@pytest.mark.parametrize(
    ("records", "status", "why"),
    [
        pytest.param((), 503, "no tick yet", id="just-started"),
        pytest.param(
            (NO_DEMAND,), 503, "the demand is unknown: prometheus refused", id="metrics-down"
        ),
        pytest.param(
            (NO_POOL,), 503, "the decode pool cannot be read: 403 Forbidden", id="pool-unreadable"
        ),
        pytest.param((NO_POOL, KNOWN), 200, "the metrics and both pools were read", id="ready"),
        pytest.param(
            (KNOWN, NO_DEMAND), 200, "the metrics and both pools were read", id="outage-later"
        ),
    ],
)
async def test_ready_once_everything_was_read(view, records, status, why):
    for record in records:
        view.journal.append(record)
    assert await get(view, "/readyz") == (status, {"ok": status == 200, "why": why})


@pytest.mark.program("promtool")
async def test_metrics_are_named_as_prometheus_asks(lived):
    async with TestClient(TestServer(make_app(lived))) as client:
        text = await (await client.get("/metrics")).read()
    promtool = await asyncio.create_subprocess_exec(
        "promtool", "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT
    )
    said, _ = await promtool.communicate(text)
    assert (promtool.returncode, said) == (0, b"")


async def test_metrics_are_what_prometheus_can_parse(lived):
    async with TestClient(TestServer(make_app(lived))) as client:
        answer = await client.get("/metrics")
        text = await answer.text()
    names = {family.name for family in text_string_to_metric_families(text)}
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert {"pd_planner_desired_replicas", "pd_planner_decisions"} <= names
