"""The known traps of the metrics of vLLM, its endpoint picker, SGLang and TensorRT-LLM."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp import web
from metrics_pages import (
    SELECTION,
    counting,
    gauge,
    histogram,
    observed,
    over_time,
    read,
)

from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.crosschecks import Evidence
from planner.metrics.quality import QualitySettings, judge
from policies.types import Trust


def test_trap_05_counters_of_ended_requests_saturate() -> None:
    """Ten requests/s end at capacity while five more a second pile up: fifteen are offered."""
    ended = counting("vllm:request_success", 'model_name="Tiny"', 10)
    queue = [
        f'# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{model_name="Tiny"}} '
        f"{5 * at}\n# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{model_name="Tiny"} 64\n'
        for at in (0, 15, 30, 45, 60)
    ]
    pages = [a + b for a, b in zip(ended, queue, strict=True)]
    seen = observed("vllm-llmd", over_time("decode-0", pages))
    assert seen.finished_per_second == pytest.approx(10)
    assert seen.requests_per_second == pytest.approx(15)


def test_trap_06a_prefill_pods_report_whole_requests_of_one_token() -> None:
    scrapes = []
    for i in range(5):
        pages = {}
        for pod, tokens in (("prefill-0", 1), ("decode-0", 200)):
            name = "vllm:request_generation_tokens"
            count = 100 + 30 * i
            pages[pod] = (
                f"# TYPE {name} histogram\n"
                f'{name}_bucket{{model_name="Tiny",le="+Inf"}} {count}\n'
                f'{name}_count{{model_name="Tiny"}} {count}\n'
                f'{name}_sum{{model_name="Tiny"}} {count * tokens}\n'
            )
        scrapes.append((15.0 * i, pages))
    assert observed("vllm-llmd", scrapes).output_tokens_mean == pytest.approx(200)


def test_trap_06b_ttft_of_a_decode_pod_leaves_prefill_out() -> None:
    scrapes = [
        (
            15.0 * i,
            {
                "prefill-0": histogram(
                    "vllm:e2e_request_latency_seconds", 'model_name="Tiny"', {"+Inf": n}, n * 0.4
                ),
                "decode-0": histogram(
                    "vllm:time_to_first_token_seconds", 'model_name="Tiny"', {"+Inf": n}, n * 0.1
                ),
            },
        )
        for i, n in enumerate(range(100, 250, 30))
    ]
    assert observed("vllm", scrapes).ttft.mean_seconds == pytest.approx(0.5)


def test_trap_06c_sglang_counts_each_request_on_both_roles() -> None:
    scrapes = [
        (15.0 * i, {"prefill-0": prefill, "decode-0": decode})
        for i, (prefill, decode) in enumerate(
            zip(
                counting("sglang:num_requests", 'model_name="Tiny",engine_type="prefill"', 3),
                counting("sglang:num_requests", 'model_name="Tiny",engine_type="decode"', 3),
                strict=True,
            )
        )
    ]
    assert observed("sglang", scrapes).finished_per_second == pytest.approx(3)


def test_trap_09a_sglang_repeats_gauges_per_rank_and_per_priority() -> None:
    name = "sglang:num_running_reqs"
    rows = "".join(
        f'{name}{{model_name="Tiny",engine_type="decode",tp_rank="{rank}",'
        f'priority="{priority}"}} 8\n'
        for rank in range(4)
        for priority in ("", "1", "None")
    )
    page = f"# TYPE {name} gauge\n{rows}"
    seen = observed("sglang", [(0, {"decode-0": page, "decode-1": page})])
    assert seen.running_requests.decode == 16


def test_trap_09b_gauges_of_an_idle_sglang_keep_their_last_value() -> None:
    """They are written by the scheduler's batches, so without any they say what once was."""
    labels = 'model_name="Tiny",engine_type="prefill"'
    ended = counting("sglang:num_requests", 'model_name="Tiny",engine_type="decode"', 0)
    held = {"num_queue_reqs": 7, "num_prefill_bootstrap_queue_reqs": 0, "num_running_reqs": 0}
    page = "".join(gauge(f"sglang:{name}", labels, value) for name, value in held.items())
    scrapes = [(15.0 * i, {"prefill-0": page, "decode-0": text}) for i, text in enumerate(ended)]
    reading = read("sglang", scrapes)
    seen = [reading.observation(15.0 * i, SELECTION.window_seconds, ()) for i in range(5)]
    judged = judge(Evidence(seen[-1], tuple(seen[:-1]), reading), QualitySettings())
    assert judged.waiting_requests.prefill is None
    assert "the queue is stuck" in " ".join(judged.problems)


@pytest.mark.parametrize(
    "name", ["num_prefill_bootstrap_queue_reqs", "num_prefill_prealloc_queue_reqs"]
)
def test_trap_10a_renamed_metrics_are_found_under_either_name(name: str) -> None:
    labels = 'model_name="Tiny",engine_type="prefill"'
    page = (
        f"# TYPE sglang:{name} gauge\nsglang:{name}{{{labels}}} 3\n"
        f"# TYPE sglang:num_queue_reqs gauge\nsglang:num_queue_reqs{{{labels}}} 4\n"
    )
    assert observed("sglang", [(0, {"prefill-0": page})]).waiting_requests.prefill == 7


def test_trap_10b_a_gauge_became_a_histogram() -> None:
    name = "sglang:kv_transfer_latency_ms"
    page = f'# TYPE {name} gauge\n{name}{{model_name="Tiny",engine_type="prefill"}} 40\n'
    assert observed("sglang", [(0, {"prefill-0": page})]).kv_transfer.mean_seconds == 0.04


@pytest.mark.parametrize("name", ["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"])
@pytest.mark.parametrize("preset", ["vllm", "vllm-llmd"])
def test_trap_10c_vllm_renamed_its_cache_usage(name: str, preset: str) -> None:
    page = gauge(name, 'model_name="Tiny"', 0.4)
    assert observed(preset, [(0, {"decode-0": page})]).kv_usage_fraction == 0.4


@pytest.mark.parametrize(
    "name",
    ["llm_d_epp_request", "llm_d_router_epp_request", "inference_objective_request"],
)
def test_trap_10d_the_endpoint_picker_has_had_three_names(name: str) -> None:
    pages = counting(name, 'target_model_name="Tiny"', 4)
    assert observed("vllm-llmd", over_time("epp-0", pages)).requests_per_second == 4


LOWEST_EDGES = {
    "vllm": ("vllm:inter_token_latency_seconds", "itl", 'model_name="Tiny"', "0.01"),
    "trtllm": ("trtllm_time_per_output_token_seconds", "itl", 'x="y"', "0.01"),
    "sglang": (
        "sglang:time_to_first_token_seconds",
        "ttft",
        'model_name="Tiny",engine_type="decode"',
        "0.1",
    ),
}


@pytest.mark.parametrize("preset", LOWEST_EDGES)
@pytest.mark.parametrize("above", [False, True], ids=["below-the-lowest", "above-the-highest"])
def test_trap_11_a_quantile_outside_the_edges_is_unknown(preset: str, *, above: bool) -> None:
    name, latency, labels, edge = LOWEST_EDGES[preset]
    pages = [
        histogram(name, labels, {edge: 0 if above else n, "+Inf": n}, n * 0.006)
        for n in range(1000, 1500, 100)
    ]
    seen = getattr(observed(preset, over_time("decode-0", pages)), latency)
    assert seen.mean_seconds == pytest.approx(0.006)
    assert seen.p50_seconds is seen.p95_seconds is seen.p99_seconds is None


def test_trap_14a_trtllm_without_its_flags_has_no_demand() -> None:
    """Without iteration statistics there are no queues; ended requests alone are no demand."""
    pages = counting("trtllm_request_success", "", 3)
    seen = observed("trtllm", over_time("decode-0", pages))
    assert seen.finished_per_second == pytest.approx(3)
    assert seen.requests_per_second is None


async def test_trap_14b_an_endpoint_picker_may_ask_for_a_token() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    app = web.Application()
    app.router.add_get("/metrics", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    config = MetricsConfig.model_validate(
        {"source": "scrape", "scrape": {"pages": [{"url": url}]}, "model": "m"}
    )
    source = make_source(config)
    seen = await source.observe(0.0)
    await source.close()
    await runner.cleanup()
    assert seen.trust is Trust.NONE
    assert f"{url} answered 401 Unauthorized: check metrics.access" in seen.problems


def test_trap_17_a_picker_without_a_namespace_is_not_taken_for_another_ones() -> None:
    """It is unknown under a namespace; the engines' ended plus piled up stands in."""
    selection = replace(SELECTION, labels={"namespace": "llm"})
    picker = counting("llm_d_epp_request", 'target_model_name="Tiny"', 4)
    engine = 'model_name="Tiny",namespace="llm"'
    still = gauge("vllm:num_requests_waiting", engine, 0)
    still += gauge("vllm:num_requests_running", engine, 8)
    ended = counting("vllm:request_success", engine, 3)
    scrapes = [
        (15.0 * i, {"epp-0": a, "decode-0": b + still})
        for i, (a, b) in enumerate(zip(picker, ended, strict=True))
    ]
    assert observed("vllm-llmd", scrapes, selection).requests_per_second == pytest.approx(3)


@pytest.mark.parametrize(("held", "waiting"), [("", 2), ("5", 7)], ids=["none-yet", "five"])
def test_trap_18_the_flow_control_queue_is_absent_until_something_queues(
    held: str, waiting: float
) -> None:
    page = gauge("vllm:num_requests_waiting", 'model_name="Tiny"', 2)
    name = "llm_d_epp_flow_control_queue_size"
    queue = (
        gauge(name, 'target_model_name="Tiny"', float(held)) if held else "# TYPE x gauge\nx 1\n"
    )
    seen = observed("vllm-llmd", [(0, {"epp-0": queue, "prefill-0": page})])
    assert seen.waiting_requests.prefill == waiting


def test_trap_19_the_picker_shows_its_queue_under_two_names_at_once() -> None:
    names = ("llm_d_epp_flow_control_queue_size", "inference_extension_flow_control_queue_size")
    queue = "".join(gauge(name, 'target_model_name="Tiny"', 5) for name in names)
    page = gauge("vllm:num_requests_waiting", 'model_name="Tiny"', 2)
    seen = observed("vllm-llmd", [(0, {"epp-0": queue, "prefill-0": page})])
    assert seen.waiting_requests.prefill == 7


@pytest.mark.parametrize(
    "sources",
    [{"total": 1000}, {"device": 700, "host": 200, "storage": 100}],
    ids=["one-total", "by-cache"],
)
def test_trap_20_sglang_counts_cached_tokens_in_total_or_by_cache(sources: dict[str, int]) -> None:
    labels = 'model_name="Tiny",engine_type="prefill"'
    pages = [
        "# TYPE sglang:cached_tokens counter\n"
        + "".join(
            f'sglang:cached_tokens_total{{{labels},cache_source="{source}"}} {i * tokens}\n'
            for source, tokens in sources.items()
        )
        + f"# TYPE sglang:prompt_tokens counter\n"
        f"sglang:prompt_tokens_total{{{labels}}} {i * 4000}\n"
        for i in range(5)
    ]
    assert observed("sglang", over_time("prefill-0", pages)).prefix_hit_fraction == 0.25


def test_trap_21_both_ends_of_a_transfer_show_the_same_requests() -> None:
    sending = 'model_name="Tiny",engine_type="prefill"'
    receiving = 'model_name="Tiny",engine_type="decode"'
    pages = {
        "prefill-0": gauge("sglang:num_prefill_inflight_queue_reqs", sending, 6),
        "decode-0": gauge("sglang:num_decode_transfer_queue_reqs", receiving, 6),
    }
    assert observed("sglang", [(0, pages)]).kv_transfer_backlog_requests == 6
