"""The known traps of these metrics, one test each, on the planner's own evaluation of the presets.

That it evaluates as a Prometheus server does is shown in test_metrics_stacks.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import promql_parser
import pytest
from prometheus_client.parser import text_string_to_metric_families

from planner.metrics.crosschecks import Evidence
from planner.metrics.history import History
from planner.metrics.preset import Selection
from planner.metrics.presets import PRESETS
from planner.metrics.promql import Evaluation
from planner.metrics.quality import QualitySettings, judge
from planner.metrics.reading import Reading, queries
from planner.metrics.vector import Sample
from policies.types import Observation, Trust

RECORDINGS = Path(__file__).parent / "recordings"
SELECTION = Selection(
    labels={},
    model="Tiny",
    window_seconds=60,
    prefill_pods="prefill.*",
    decode_pods="decode.*",
)
Scrapes = Sequence[tuple[float, dict[str, str]]]


def read(preset: str, scrapes: Scrapes) -> Reading:
    """Scrape pages by pod at each time, then ask the preset's queries at the last."""
    history = History(keep_seconds=300)
    for at, pages in scrapes:
        history.retain(pages)
        for pod, text in pages.items():
            samples = [
                (s.name, frozenset({"pod": pod, **s.labels}.items()), s.value)
                for family in text_string_to_metric_families(text)
                for s in family.samples
            ]
            up = ("up", frozenset({("pod", pod)}), 1.0)
            history.record(pod, at, [up, *samples])
    evaluation = Evaluation(history, scrapes[-1][0])
    answers = {}
    for name, query in queries(PRESETS[preset], SELECTION).items():
        value = evaluation.value(promql_parser.parse(query))
        assert isinstance(value, dict)
        answers[name] = tuple(Sample(dict(labels), number) for labels, number in value.items())
    return Reading(PRESETS[preset], answers)


def observed(preset: str, scrapes: Scrapes) -> Observation:
    reading = read(preset, scrapes)
    seen = reading.observation(scrapes[-1][0], SELECTION.window_seconds, ())
    return judge(Evidence(seen, (), reading), QualitySettings())


def counting(name: str, labels: str, per_second: float, start: float = 1000.0) -> list[str]:
    """A counter at 0, 15, 30, 45 and 60 s."""
    return [
        f"# TYPE {name} counter\n{name}_total{{{labels}}} {start + per_second * at}\n"
        for at in (0, 15, 30, 45, 60)
    ]


def over_time(pod: str, texts: Sequence[str]) -> Scrapes:
    return [(15.0 * i, {pod: text}) for i, text in enumerate(texts)]


def test_trap_01_unknown_is_not_zero() -> None:
    """A quotient of nothing over nothing is unknown, and so is what was never scraped."""
    idle = counting("dynamo_frontend_requests_started", 'model="tiny"', 0)
    seen = observed("dynamo", over_time("frontend-0", idle))
    assert seen.requests_per_second == 0
    assert seen.output_tokens_mean is None
    assert seen.ttft.mean_seconds is None
    assert seen.kv_usage_fraction is None
    assert seen.trust is Trust.SCALE_OUT_ONLY


def test_trap_02_the_dynamo_router_counts_each_request_twice() -> None:
    frontend = counting("dynamo_frontend_requests_started", 'model="tiny"', 2)
    router = counting("dynamo_component_router_requests_started", 'router_id="1"', 4)
    both = [a + b for a, b in zip(frontend, router, strict=True)]
    assert observed("dynamo", over_time("frontend-0", both)).requests_per_second == 2


def test_trap_03_dynamo_workers_count_a_second_endpoint() -> None:
    name = "dynamo_component_inflight_requests"
    page = (
        f"# TYPE {name} gauge\n"
        f'{name}{{dynamo_component="backend",dynamo_endpoint="generate",dynamo_namespace="d"}} 5\n'
        f'{name}{{dynamo_component="backend",dynamo_endpoint="worker_kv_query_source_1",'
        'dynamo_namespace="d"} 3\n'
    )
    assert observed("dynamo", [(0, {"decode-0": page})]).running_requests.decode == 5


def test_trap_04_dynamo_lowers_the_model_name_and_suffixes_its_namespace() -> None:
    started = counting("dynamo_frontend_requests_started", 'model="tiny"', 2)
    assert observed("dynamo", over_time("frontend-0", started)).requests_per_second == 2
    name = "dynamo_component_inflight_requests"
    page = (
        f'# TYPE {name} gauge\n{name}{{dynamo_component="prefill",dynamo_endpoint="generate",'
        'dynamo_namespace="my_ns-3f9a"} 4\n'
    )
    assert observed("dynamo", [(0, {"prefill-0": page})]).running_requests.prefill == 4


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


def test_trap_06_prefill_pods_report_whole_requests_of_one_token() -> None:
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


def test_trap_07_a_counter_restarts_on_its_own() -> None:
    """Two front ends of one request/s each; one restarts and counts from zero."""
    steady = counting("dynamo_frontend_requests_started", 'model="tiny"', 1)
    fresh = counting("dynamo_frontend_requests_started", 'model="tiny"', 1, start=0)
    restarted = [*steady[:3], *fresh[1:3]]
    scrapes = [
        (15.0 * i, {"frontend-0": a, "frontend-1": b})
        for i, (a, b) in enumerate(zip(steady, restarted, strict=True))
    ]
    assert observed("dynamo", scrapes).requests_per_second == pytest.approx(2, rel=0.05)


def test_trap_08_gauges_of_a_deleted_pod_do_not_linger() -> None:
    page = (
        '# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name="Tiny"} 7\n'
    )
    scrapes = [(0.0, {"decode-0": page, "decode-1": page}), (15.0, {"decode-0": page})]
    assert observed("vllm-llmd", scrapes).waiting_requests.decode == 7


def test_trap_09_sglang_repeats_gauges_per_rank_and_per_priority() -> None:
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


@pytest.mark.parametrize(
    "name", ["num_prefill_bootstrap_queue_reqs", "num_prefill_prealloc_queue_reqs"]
)
def test_trap_10_renamed_metrics_are_found_under_either_name(name: str) -> None:
    labels = 'model_name="Tiny",engine_type="prefill"'
    page = (
        f"# TYPE sglang:{name} gauge\nsglang:{name}{{{labels}}} 3\n"
        f"# TYPE sglang:num_queue_reqs gauge\nsglang:num_queue_reqs{{{labels}}} 4\n"
    )
    assert observed("sglang", [(0, {"prefill-0": page})]).waiting_requests.prefill == 7


def test_trap_10_a_gauge_became_a_histogram() -> None:
    name = "sglang:kv_transfer_latency_ms"
    page = f'# TYPE {name} gauge\n{name}{{model_name="Tiny",engine_type="prefill"}} 40\n'
    assert observed("sglang", [(0, {"prefill-0": page})]).kv_transfer.mean_seconds == 0.04


def test_trap_11_a_quantile_below_the_lowest_edge_is_unknown() -> None:
    name = "vllm:inter_token_latency_seconds"
    pages = [
        f"# TYPE {name} histogram\n"
        f'{name}_bucket{{model_name="Tiny",le="0.01"}} {n}\n'
        f'{name}_bucket{{model_name="Tiny",le="+Inf"}} {n}\n'
        f'{name}_count{{model_name="Tiny"}} {n}\n{name}_sum{{model_name="Tiny"}} {n * 0.006}\n'
        for n in range(1000, 1500, 100)
    ]
    seen = observed("vllm-llmd", over_time("decode-0", pages))
    assert seen.itl.mean_seconds == pytest.approx(0.006)
    assert seen.itl.p95_seconds is None


@pytest.mark.parametrize(("shown", "read_as"), [(0.45, 0.45), (1.0, 1.0), (45.0, None)])
def test_trap_12_what_is_called_percent_is_a_fraction(shown: float, read_as: float | None) -> None:
    name = "dynamo_component_gpu_cache_usage_percent"
    page = f"# TYPE {name} gauge\n{name} {shown}\n"
    assert observed("dynamo", [(0, {"decode-0": page})]).kv_usage_fraction == read_as


def test_trap_13_at_zero_replicas_the_demand_signal_is_gone_not_zero() -> None:
    seen = observed("sglang", [(0, {"frontend-0": "# TYPE x gauge\nx 1\n"})])
    assert seen.requests_per_second is None
    assert seen.trust is Trust.NONE


def test_trap_14_trtllm_without_its_flags_still_gives_demand() -> None:
    """Without iteration statistics there are no queues; ended requests alone are no demand."""
    pages = counting("trtllm_request_success", "", 3)
    seen = observed("trtllm", over_time("decode-0", pages))
    assert seen.finished_per_second == pytest.approx(3)
    assert seen.requests_per_second is None


def test_trap_15_counters_are_asked_for_with_their_suffix() -> None:
    gauges = {"sglang:http_requests_total"}
    for preset in PRESETS.values():
        for query in queries(preset, SELECTION).values():
            for call in query.split("rate(")[1:]:
                name = call.split("{")[0]
                assert name.endswith(("_total", "_sum", "_count", "_bucket")) or name in gauges


def test_trap_16_the_recorded_dynamo_pages_are_understood() -> None:
    """Real pages of a front end, a prefill and a decode worker, seen twice with no traffic."""
    pages = {
        f"{role}-0": (RECORDINGS / f"dynamo-1.6.1-{role}.txt").read_text()
        for role in ("frontend", "prefill", "decode")
    }
    reading = read("dynamo", [(0.0, pages), (15.0, pages), (30.0, pages)])
    seen = reading.observation(30.0, 60.0, ())
    assert seen.requests_per_second == 0
    assert seen.finished_per_second == 0
    assert list(seen.waiting_requests) == [0, 0]
    assert list(seen.running_requests) == [0, 0]
    assert seen.kv_usage_fraction == 0
    assert seen.ttft.mean_seconds is None
    assert reading.rank("decode_waiting_requests") == 0
    assert reading.rank("prefill_waiting_requests") == 3


def test_trap_16_the_recorded_traffic_has_the_recorded_lengths() -> None:
    """The same pages after a second front end of six requests more."""
    page = (RECORDINGS / "dynamo-1.6.1-frontend.txt").read_text()
    before = "\n".join(
        line if line.startswith("#") or not line else f"{line.rsplit(' ', 1)[0]} 0"
        for line in page.splitlines()
    )
    scrapes = [(0.0, {"frontend-0": before + "\n"}), (15.0, {"frontend-0": page})]
    seen = observed("dynamo", scrapes)
    assert seen.input_tokens is not None
    assert seen.input_tokens.mean == pytest.approx(4605 / 6)
    assert seen.output_tokens_mean == pytest.approx(24)
    assert seen.ttft.mean_seconds == pytest.approx(0.5712357 / 6)
    assert seen.itl.mean_seconds == pytest.approx(0.798920978 / 138)
    assert seen.prefix_hit_fraction == 0
