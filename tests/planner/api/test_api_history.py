"""The planner now and before, as clients read it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from planner.api import history
from planner.api.app import make_app
from planner.explain import explain
from policies.types import GpuCap, PerRole


@pytest.fixture
async def client(lived):
    async with TestClient(TestServer(make_app(lived))) as client:
        yield client


async def decisions(client, query: str) -> list[dict]:
    answer = await client.get(f"/api/v1/decisions{query}")
    assert answer.status == 200
    return (await answer.json())["decisions"]


async def test_state_before_the_first_tick_says_so(view):
    async with TestClient(TestServer(make_app(view))) as client:
        state = await (await client.get("/api/v1/state")).json()
    assert state["last"] is None
    assert state["explanation"] == "no decision yet: waiting for the first tick"


async def test_state_shows_the_last_tick_in_words_and_numbers(client, lived):
    state = await (await client.get("/api/v1/state")).json()
    last = lived.journal.last
    assert state["mode"] == "demo"
    assert state["explanation"] == explain(last.decision, lived.settings.slo, last.pools)
    assert state["slo"] == lived.settings.slo.model_dump()
    assert state["budget"]["gpu_budget"] == 16
    assert state["summary"]["gpu_hours"] == 38.25
    tick = state["last"]
    assert tick["decision"]["current"]["prefill"] == last.decision.current.prefill
    prospect, foreseen = tick["decision"]["prospect"], last.decision.prospect
    assert prospect["planned"]["ttft_seconds"] == foreseen.planned.ttft_seconds
    assert prospect["margins"]["decode"]["binding"] == foreseen.margins.decode.binding
    assert prospect["needed_replicas"]["prefill"] == foreseen.needed_replicas.prefill
    assert prospect["efficient_ratio"] == foreseen.efficient_ratio
    assert tick["decision"]["hold"]["reason"] == last.decision.hold.reason
    assert tick["observation"]["requests_per_second"] == last.observation.requests_per_second
    assert tick["observation"]["input_tokens"] == pytest.approx(900)
    assert tick["pools"]["prefill"]["ready_replicas"] == last.pools.prefill.ready_replicas


async def test_unknown_is_null_and_an_unreadable_pool_says_why(client, lived):
    ticks = await decisions(client, "?limit=10000")
    assert len(ticks) == len(lived.journal)
    outage, unreadable = ticks[205], ticks[230]
    assert outage["observation"]["requests_per_second"] is None
    assert outage["observation"]["problems"] == ["127.0.0.1:9090 refused the connection"]
    assert unreadable["pools"]["decode"] == {"why": "deployment decode: 403 Forbidden"}
    assert unreadable["decision"]["current"] is None
    assert ticks[1]["failures"] == [{"role": "decode", "why": "409 Conflict"}]


async def test_what_waits_and_what_the_cluster_grants_are_told(view, records):
    sized = next(one for one in records if one.decision.backlog)
    cap = GpuCap(7, "KAI queue team-a: limit")
    decision = replace(
        sized.decision, backlog=PerRole(12.5, 0.0), unserved=PerRole(0.0, 3.0), cap=cap
    )
    view.journal.append(replace(sized, decision=decision))
    async with TestClient(TestServer(make_app(view))) as client:
        (tick,) = await decisions(client, "")
    assert tick["decision"]["backlog"] == {"prefill": 12.5, "decode": 0.0}
    assert tick["decision"]["unserved"] == {"prefill": 0.0, "decode": 3.0}
    assert tick["decision"]["cap"] == {"gpus": 7, "source": cap.source}


async def test_every_sized_decision_says_what_binds_what_is_expected_and_what_limits(client):
    sized = [
        tick for tick in await decisions(client, "?limit=10000") if tick["decision"]["prospect"]
    ]
    assert len(sized) > 300
    for tick in sized:
        said, limiters = tick["explanation"], tick["decision"]["limiters"]
        for role in ("prefill", "decode"):
            assert re.search(rf"{role} (is bound by|is at its|could do with|replica more)", said)
        assert "(objective 2 s)" in said
        assert "the demand calls for" in said
        assert all(limiter["why"] in said for limiter in limiters)
        assert limiters or "nothing limits it" in said or "the GPU budget binds" in said
        assert not re.search(r"_|\bnan\b|\binf\b|None", said)


@pytest.mark.parametrize(
    ("query", "minutes"),
    [
        pytest.param("?limit=3", [357, 358, 359], id="the-newest"),
        pytest.param("?since=21420", [358, 359], id="only-the-new"),
        pytest.param("?since=20000&limit=1", [359], id="the-newest-of-the-new"),
        pytest.param("?since=99999", [], id="nothing-new"),
    ],
)
async def test_decisions_are_the_newest_newest_last(client, query, minutes):
    ticks = await decisions(client, query)
    assert [tick["decision"]["decided_at_seconds"] / 60 for tick in ticks] == minutes


@pytest.mark.parametrize(
    ("query", "field", "right"),
    [
        pytest.param("?limit=0", "limit", "greater than or equal to 1", id="too-few"),
        pytest.param("?limit=many", "limit", "a valid integer", id="not-a-number"),
        pytest.param("?since=nan", "since", "a finite number", id="not-a-time"),
        pytest.param("?after=3", "after", "the fields are limit, since", id="unknown-name"),
    ],
)
async def test_a_bad_query_is_told_what_would_be_right(client, query, field, right):
    answer = await client.get(f"/api/v1/decisions{query}")
    problem = await answer.json()
    assert answer.status == 422
    assert answer.content_type == "application/problem+json"
    assert problem["errors"][0]["field"] == field
    assert right in problem["errors"][0]["right"]


async def test_the_past_is_told_to_one_client_at_a_time(lived, monkeypatch):
    inside, most = [], []

    def told(records, slo):
        inside.append(records)
        most.append(len(inside))
        text = tell(records, slo)
        inside.pop()
        return text

    tell = history._told
    monkeypatch.setattr(history, "_told", told)
    async with TestClient(TestServer(make_app(lived))) as client:
        answers = await asyncio.gather(*(client.get("/api/v1/decisions") for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert most == [1] * 4
