"""Every query of every preset, on a real server, gives the number that the fleet had.

A fallback answers where a stack runs another engine or an older version, so each is shown a
fleet under the names of that one: pages of the exporters with some metrics renamed or left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest
from metrics_fleet import MODEL, NOW, record, with_labels
from metrics_pages import SELECTION, read

from planner.metrics.config import MetricsConfig
from planner.metrics.presets import PRESETS
from planner.metrics.prometheus import PrometheusEvaluator
from planner.metrics.reading import queries
from planner.metrics.signals import SIGNALS
from planner.metrics.vector import Buckets, Vector, number

pytestmark = [
    pytest.mark.program("prometheus"),
    pytest.mark.program("promtool"),
    pytest.mark.xdist_group("variants"),  # one server for all
]

# What the fleet of metrics_fleet.py did and held; bytes are 128 MiB for each request.
FLEET = {
    "requests_per_second": 2.0,
    "arrival_dispersion": 0.0,  # 30 in each 15 s
    "finished_per_second": 2.0,
    "demand_age_seconds": 0.0,
    "input_tokens_mean": 1000.0,
    "input_tokens_buckets": 2.0,
    "output_tokens_mean": 101.0,
    "output_tokens_buckets": 2.0,
    "ttft_mean_seconds": 0.5,
    "ttft_buckets": 2.0,
    "itl_mean_seconds": 0.02,
    "itl_buckets": 200.0,
    "prefix_hit_fraction": 0.25,
    "prefill_waiting_requests": 6.0,
    "prefill_running_requests": 3.0,
    "prefill_age_seconds": 0.0,
    "prefill_coverage_fraction": 1.0,
    "prefill_reporting_pods": 3.0,
    "prefill_live_pods": 3.0,
    "decode_waiting_requests": 2.0,
    "decode_running_requests": 96.0,
    "decode_age_seconds": 0.0,
    "decode_coverage_fraction": 1.0,
    "decode_reporting_pods": 4.0,
    "decode_live_pods": 4.0,
    "prefill_tokens_per_second": 2000.0,
    "kv_usage_fraction": 0.625,
    "kv_usage_max_fraction": 0.625,
    "kv_transfer_backlog_requests": 5.0,
    "kv_transfer_mean_seconds": 0.04,
    "kv_transfer_bytes_per_second": 2 * 2.0**27,
    "kv_transfer_failures_per_second": 0.0,
}


# Where a query rightly says something else.
OTHERWISE = {
    # What decode workers hold, waiting or not: 96 and 2.
    "dynamo": {"decode_running_requests/3": 98.0},
}


@dataclass(frozen=True, slots=True)
class Variant:
    """A stack's pages with metrics renamed; one renamed to nothing is left out.

    `engine` adds the pages of another exporter's workers, `more` lines to the page of a pod.
    """

    stack: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    engine: str | None = None
    engine_renamed: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    preset: str = ""

    def pages(self, case: str) -> list[tuple[float, str]]:
        """What a server scraped in the last minutes, all pods' pages together."""
        past = record(self.stack, restarts_at=RESTARTS[case])
        engines = record(self.engine, restarts_at=RESTARTS[case]) if self.engine else past
        found = []
        for (seconds, pages), (_, others) in zip(past, engines, strict=True):
            texts = {pod: renamed(text, self.renamed) for pod, text in pages.items()}
            if self.engine:
                workers = {p: renamed(text, self.engine_renamed) for p, text in others.items()}
                texts = {pod: text + workers.get(pod, "") for pod, text in texts.items()}
            texts = {pod: text + self.more.get(pod, "") for pod, text in texts.items()}
            found.append((seconds, with_labels(texts)))
        return found


def renamed(text: str, names: Mapping[str, str]) -> str:
    lines = []
    for line in text.splitlines():
        for old, new in names.items():
            changed = re.sub(rf"^(# \w+ )?{old}", rf"\g<1>{new}", line)
            if changed != line and not new:
                break
            line = changed  # noqa: PLW2901 - one renaming after another
        else:
            lines.append(line)
    return "\n".join([*lines, ""])


def gauge(name: str, pod: str, labels: str, value: float) -> str:
    return f'# TYPE {name} gauge\n{name}{{pod="{pod}",{labels}}} {value}\n'


_BY_REASON = "vllm:num_requests_waiting_by_reason"
_NO_ENGINE = {"vllm:.*": ""}
_OLDER_VLLM = {
    "vllm:kv_cache_usage_perc": "vllm:gpu_cache_usage_perc",
    "vllm:num_requests_kv_fetch_by_stage": "",
    "vllm:nixl_": "vllm:mooncake_",
}
_OLDER_SGLANG = {
    "sglang:http_requests": "",
    "sglang:num_prefill_bootstrap_queue_reqs": "sglang:num_prefill_prealloc_queue_reqs",
    "sglang:num_prefill_inflight_queue_reqs": "",
    "sglang:prompt_tokens_histogram": "",
    "sglang:generation_tokens_histogram": "",
    "sglang:kv_transfer_latency_ms": "",
}
_COUNTING_ROUTER = {
    "llm_d_epp_request_total{.*}": f'vllm:num_incoming_requests_total{{model="{MODEL}"}}',
    "llm_d_epp_request_total": "vllm:num_incoming_requests_total",
    "llm_d_epp_.*": "",
}
_REASONS = {
    f"decode-{i}": gauge(_BY_REASON, f"decode-{i}", f'model_name="{MODEL}",reason="{reason}"', n)
    for i, (reason, n) in enumerate((("capacity", 2), ("deferred", 5)))
}
VARIANTS = {
    "dynamo": Variant("dynamo"),
    "dynamo-that-counts-no-arrivals": Variant(
        "dynamo",
        {
            "dynamo_frontend_requests_started": "",
            "vllm:kv_cache_usage_perc": "dynamo_component_gpu_cache_usage_percent",
            "vllm:num_requests_kv_fetch_by_stage": "",
        },
        more=_REASONS,
    ),
    "dynamo-on-vllm": Variant("dynamo", _NO_ENGINE, engine="vllm"),
    "dynamo-on-sglang": Variant("dynamo", _NO_ENGINE, engine="sglang"),
    "dynamo-on-older-sglang": Variant(
        "dynamo", _NO_ENGINE, engine="sglang", engine_renamed=_OLDER_SGLANG
    ),
    "dynamo-on-trtllm": Variant("dynamo", _NO_ENGINE, engine="trtllm"),
    "dynamo-on-an-unknown-engine": Variant(
        "dynamo",
        {
            "vllm:nixl_xfer_time_seconds": (
                "dynamo_component_router_kv_transfer_estimated_latency_seconds"
            ),
            **_NO_ENGINE,
        },
    ),
    "vllm-llmd": Variant("vllm-llmd"),
    "vllm-llmd-interim": Variant("vllm-llmd", {"llm_d_epp_request": "llm_d_router_epp_request"}),
    "vllm-llmd-first": Variant(
        "vllm-llmd",
        {"llm_d_epp_request": "inference_objective_request", **_OLDER_VLLM},
        more=_REASONS,
    ),
    "vllm-llmd-behind-another-router": Variant(
        "vllm-llmd",
        _COUNTING_ROUTER,
    ),
    "vllm": Variant("vllm"),
    "vllm-behind-a-router-that-counts": Variant(
        "vllm-llmd", {**_COUNTING_ROUTER, **_OLDER_VLLM}, more=_REASONS, preset="vllm"
    ),
    "sglang": Variant("sglang"),
    "sglang-older": Variant(
        "sglang",
        _OLDER_SGLANG,
        more={
            "prefill-0": gauge(
                "sglang:kv_transfer_latency_ms",
                "prefill-0",
                f'model_name="{MODEL}",engine_type="prefill"',
                40,
            )
        },
    ),
    "trtllm": Variant("trtllm"),
    "trtllm-with-own-gauges": Variant(
        "trtllm",
        more={
            "prefill-0": gauge("trtllm_num_context_requests", "prefill-0", 'x="y"', 3),
            "decode-0": gauge("trtllm_num_generation_requests", "decode-0", 'x="y"', 96),
        },
    ),
}
# At which of 41 scrapes every pod restarts. The 30 requests between the scrape before and the
# restart are counted by no sample, so of the window's 120 requests 90 are seen.
RESTARTS = {"steady": None, "restart": 39, "fresh-restart": 40}
SEEN = {"steady": 1.0, "restart": 0.75, "fresh-restart": 0.75}


@pytest.fixture(scope="module")
def prometheus(start_prometheus: Callable[..., str]) -> str:
    """One server with the past of every variant, each in a namespace of its own."""
    past = [
        (seconds, text, {"namespace": f"{name}-{case}"})
        for name, variant in VARIANTS.items()
        for case in RESTARTS
        for seconds, text in variant.pages(case)
    ]
    return start_prometheus(past=past)


async def answered(url: str, name: str, case: str) -> dict[str, float]:
    """Every query of the variant's preset that answers, by signal and rank."""
    config = MetricsConfig.model_validate(
        {
            "url": url,
            "preset": VARIANTS[name].preset or VARIANTS[name].stack,
            "model": MODEL,
            "window_seconds": 65,
            "namespace": f"{name}-{case}",
        }
    )
    evaluator = PrometheusEvaluator(config)
    answers = await evaluator.evaluate(queries(config.signals, config.selection), NOW)
    await evaluator.close()
    assert answers.problems == ()
    values = {query: value_of(query, vector) for query, vector in answers.vectors.items()}
    return {query: value for query, value in values.items() if value is not None}


def value_of(query: str, vector: Vector) -> float | None:
    """The number, or of a histogram the rate of all its values."""
    if not SIGNALS[query.split("/", maxsplit=1)[0]].is_histogram:
        return number(vector)
    buckets = Buckets.read(vector)
    return sum(buckets.counts) if buckets else None


def is_rate(signal: str) -> bool:
    return signal.endswith(("_per_second", "_buckets"))


@pytest.mark.parametrize("case", RESTARTS)
@pytest.mark.parametrize("name", VARIANTS)
async def test_every_query_that_answers_gives_the_fleets_number(
    name: str, case: str, prometheus: str
) -> None:
    otherwise = OTHERWISE.get(VARIANTS[name].stack, {})
    found = await answered(prometheus, name, case)
    for query, value in found.items():
        signal = query.split("/")[0]
        wanted = otherwise.get(query, FLEET[signal]) * (SEEN[case] if is_rate(signal) else 1.0)
        assert value == pytest.approx(wanted), query


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "custom"])
async def test_every_query_answers_in_some_variant(preset: str, prometheus: str) -> None:
    found = set[str]()
    for name, variant in VARIANTS.items():
        if preset == (variant.preset or variant.stack):
            found |= set(await answered(prometheus, name, "steady"))
    signals = PRESETS[preset].signals
    assert set(signals) == {query.split("/")[0] for query in found}
    missing = {
        f"{name}/{rank}" for name, signal in signals.items() for rank in range(len(signal.queries))
    }
    assert missing - found == set()


def metrics_of(pages: Mapping[str, str]) -> set[str]:
    return {
        name for text in pages.values() for name in re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    }


# Left out, these leave another number, which is the best that is left to know.
WORSE = {
    # A worker's own requests instead of the engine's: those that wait count as running.
    ("dynamo", "vllm:num_requests_running"): {"decode_running_requests": 98.0},
}


@pytest.mark.parametrize("stack", [name for name in PRESETS if name != "custom"])
def test_without_any_one_series_each_signal_is_unknown_or_as_before(stack: str) -> None:
    """No missing series turns into a wrong number."""
    past = record(stack)[-6:]
    selection = replace(SELECTION, model=MODEL, window_seconds=65)
    for gone in sorted(metrics_of(past[-1][1])):
        left = [
            (
                at,
                {
                    pod: renamed(text, {rf"{gone}(_bucket|_sum|_count)?\b": ""})
                    for pod, text in pages.items()
                },
            )
            for at, pages in past
        ]
        reading = read(stack, left, selection)
        wanted = FLEET | WORSE.get((stack, gone), {})
        for name in PRESETS[stack].signals:
            value = None if SIGNALS[name].is_histogram else reading.number(name)
            assert value is None or value == pytest.approx(wanted[name]), f"{name} without {gone}"
