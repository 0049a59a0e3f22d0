"""A size on request: the same as the library's, and helpful about bad questions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from planner.api.app import make_app
from policies.foresight import Foresight
from policies.lengths import Lengths
from policies.ratio import RatioRange
from policies.recommend import recommend

PATH = "/api/v1/recommend"
LOAD = {"requests_per_second": 60, "input_tokens": 3000, "output_tokens": 250}


@pytest.fixture
async def client(view):
    async with TestClient(TestServer(make_app(view))) as client:
        yield client


async def ask(client, **question) -> dict:
    answer = await client.post(PATH, json=question)
    assert answer.status == 200
    return await answer.json()


async def test_it_answers_what_the_policy_itself_would(client, view):
    answer = await ask(client, **LOAD)
    solution = recommend(
        view.profile,
        view.settings,
        requests_per_second=60,
        input_tokens=Lengths.lognormal(3000, view.settings.input_length_cv),
        output_tokens=Lengths.lognormal(250, view.settings.output_length_cv),
    )
    assert answer["replicas"] == {
        "prefill": solution.replicas.prefill,
        "decode": solution.replicas.decode,
    }
    assert answer["gpus"] == solution.gpus
    assert answer["expected"]["ttft_seconds"] == solution.expected.ttft_seconds
    foreseen = Foresight.steady(solution.capacity)(solution.replicas)
    assert answer["margins"]["prefill"]["gpus"] == foreseen.margins.prefill.gpus
    assert answer["needed_replicas"]["decode"] == foreseen.needed_replicas.decode
    assert answer["efficient_ratio"] == foreseen.efficient_ratio
    assert answer["binding"] == [str(constraint) for constraint in solution.binding]
    assert answer["feasible"] is True
    assert answer["shortfall"] is None
    assert answer["explanation"].startswith(
        f"{solution.replicas.prefill}+{solution.replicas.decode} replicas on {solution.gpus} GPUs"
    )


async def test_an_objective_of_its_own_costs_more_when_stricter(client, view):
    usual = await ask(client, **LOAD)
    strict = await ask(client, **LOAD, slo={"itl_seconds": 0.008})
    assert strict["slo"] == view.settings.slo.model_dump() | {"itl_seconds": 0.008}
    assert strict["gpus"] > usual["gpus"]


async def test_a_wider_spread_of_prompts_costs_more(client):
    narrow = await ask(client, **LOAD, input_tokens_cv=0)
    wide = await ask(client, **LOAD, input_tokens_cv=2)
    assert wide["gpus"] > narrow["gpus"]


async def test_a_budget_too_small_is_kept_and_what_is_missing_is_said(client):
    answer = await ask(client, **LOAD, gpu_budget=2)
    assert answer["gpus"] <= 2
    assert answer["feasible"] is False
    assert answer["binding"] == ["budget"]
    assert "would be needed" in answer["shortfall"]


async def test_a_ratio_of_its_own_goes_before_the_service_s(view):
    service = view.settings.model_copy(update={"ratio": RatioRange(min_prefill_per_decode=2.5)})
    async with TestClient(TestServer(make_app(replace(view, settings=service)))) as client:
        usual = (await ask(client, **LOAD))["replicas"]
        own = (await ask(client, **LOAD, ratio={"max_prefill_per_decode": 0.5}))["replicas"]
        none_has = await ask(client, **LOAD, ratio={"min_prefill_per_decode": 1000})
        ends = {"min_prefill_per_decode": 3, "max_prefill_per_decode": 2}
        none_can = await ask(client, **LOAD, ratio=ends)
    assert usual["prefill"] >= 2.5 * usual["decode"]
    assert own["prefill"] <= 0.5 * own["decode"]
    assert none_has["feasible"] is False
    assert "no pair within bounds and budget has 1000 or more prefill" in none_has["shortfall"]
    assert "has 3 or more and no more than 2 prefill" in none_can["shortfall"]


@pytest.mark.parametrize(
    ("change", "field", "right"),
    [
        pytest.param({"requests_per_second": -1}, "requests_per_second", "0", id="negative-rate"),
        pytest.param({"requests_per_second": "60"}, "requests_per_second", "number", id="word"),
        pytest.param({"input_tokens": 0}, "input_tokens", "1", id="no-prompt"),
        pytest.param({"output_tokens": 1e9}, "output_tokens", "10000000", id="too-long"),
        pytest.param({"gpu_budget": 1.5}, "gpu_budget", "integer", id="half-a-gpu"),
        pytest.param({"slo": {"ttft_seconds": 0}}, "slo.ttft_seconds", "0", id="no-time"),
        pytest.param(
            {"slo": {"attainment_fraction": 99}}, "slo.attainment_fraction", "1", id="percent"
        ),
        pytest.param({"slo": {"ttft": 1}}, "slo.ttft", "fields are ttft_seconds, ", id="no-unit"),
        pytest.param(
            {"ratio": {"max": 2}},
            "ratio.max",
            "fields are min_prefill_per_decode, ",
            id="ratio-end",
        ),
        pytest.param(
            {"ratio": {"min_prefill_per_decode": "3"}},
            "ratio.min_prefill_per_decode",
            "number",
            id="ratio-in-words",
        ),
        pytest.param({"rps": 3}, "rps", "requests_per_second, input_tokens", id="unknown-field"),
        pytest.param({"output_tokens": None}, "output_tokens", "number", id="null"),
    ],
)
async def test_a_bad_field_is_named_with_what_would_be_right(client, change, field, right):
    answer = await client.post(PATH, json={**LOAD, **change})
    problem = await answer.json()
    assert answer.status == 422
    assert answer.content_type == "application/problem+json"
    assert [error["field"] for error in problem["errors"]] == [field]
    assert right in problem["errors"][0]["right"]
    assert problem["detail"].startswith(f"{field}: ")


async def test_a_missing_field_is_named(client):
    answer = await client.post(PATH, json={"requests_per_second": 1, "input_tokens": 1})
    [error] = (await answer.json())["errors"]
    assert (error["field"], error["wrong"]) == ("output_tokens", "it is missing")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "detail"),
    [
        pytest.param("{", "application/json", 400, "the body is not JSON", id="cut-off"),
        pytest.param("", "application/json", 400, "the body is not JSON", id="empty"),
        pytest.param("[1]", "application/json", 422, "body: [1]", id="a-list"),
        pytest.param(
            json.dumps(LOAD).replace("60", "NaN"), "application/json", 422, "finite", id="nan"
        ),
        pytest.param("\udcff\udcfe", "application/json", 400, "not JSON", id="not-utf-8"),
        pytest.param("a=1", "text/plain", 415, "should be application/json", id="not-json"),
        pytest.param("[" * 20_000, "application/json", 413, "16384 bytes", id="too-long"),
        pytest.param("[" * 9_000, "application/json", 400, "not JSON", id="too-deep"),
    ],
)
async def test_a_bad_body_is_answered_with_a_problem(client, body, content_type, status, detail):
    answer = await client.post(
        PATH,
        data=body.encode(errors="surrogateescape"),
        headers={"Content-Type": content_type},
    )
    problem = await answer.json()
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert detail in problem["detail"]
    assert "Traceback" not in await answer.text()


async def test_no_load_and_an_objective_out_of_reach_is_an_answer_too(client):
    answer = await ask(client, requests_per_second=0, input_tokens=1e6, output_tokens=1e6)
    assert answer["feasible"] is False
    assert "longer than the TTFT objective" in answer["shortfall"]
