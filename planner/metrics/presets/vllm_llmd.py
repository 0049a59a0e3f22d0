"""vLLM under llm-d, whose endpoint picker (EPP) counts what comes in.

The engines' own signals are those of vLLM behind any router, and stand in when no picker answers.
The picker has had three generations of names.
"""

from __future__ import annotations

from dataclasses import replace

from planner.metrics.phrases import (
    TARGET,
    age,
    buckets,
    gauge,
    label_values,
    mean,
    or_zero,
    plus,
    rate,
    samples,
)
from planner.metrics.preset import Preset, Signal
from planner.metrics.presets import versions, vllm

_COUNTS = (
    "llm_d_epp_request_total",
    "llm_d_router_epp_request_total",
    "inference_objective_request_total",
)
_HELD = ("llm_d_epp_flow_control_queue_size", "inference_extension_flow_control_queue_size")


def _before(name: str, queries: tuple[str, ...], meaning: str, excludes: str = "") -> Signal:
    """The picker's queries, and the engines' where it does not answer."""
    engines = vllm.PRESET.signals[name]
    return Signal(
        (*queries, *engines.queries), f"{meaning}; else {engines.meaning}", excludes, engines.since
    )


def _with_picker(queue: str) -> str:
    """A queue and what the picker's flow control holds, which has no series until it first does."""
    # Both generations' names may be shown side by side for the same requests: never their sum.
    held = " or ".join(gauge("sum", name, TARGET) for name in _HELD)
    return plus(queue, or_zero(held))


_WAITING = vllm.PRESET.signals["prefill_waiting_requests"]

_PICKER = {
    "requests_per_second": _before(
        "requests_per_second",
        tuple(rate(name, TARGET) for name in _COUNTS),
        meaning="requests taken by the endpoint picker",
    ),
    "arrival_dispersion": _before(
        "arrival_dispersion",
        tuple(samples(name, TARGET) for name in _COUNTS),
        meaning="how bursty those arrivals are",
    ),
    "demand_age_seconds": _before(
        "demand_age_seconds",
        tuple(age(name, TARGET) for name in _COUNTS),
        meaning="time since the newest sample of the picker",
    ),
    "ttft_mean_seconds": _before(
        "ttft_mean_seconds",
        (mean("llm_d_epp_request_ttft_seconds", TARGET),),
        meaning="arrival at the picker to first token",
    ),
    "ttft_buckets": Signal(
        (buckets("llm_d_epp_request_ttft_seconds", TARGET),),
        meaning="distribution of the same; without a picker unknown",
    ),
    "prefill_waiting_requests": replace(
        _WAITING,
        queries=tuple(map(_with_picker, _WAITING.queries)),
        meaning="requests waiting in prefill engines and in the picker's flow control",
        excludes="",
    ),
}

PRESET = Preset(
    name="vllm-llmd",
    stack="vLLM under llm-d",
    since=vllm.PRESET.since,
    marks={"endpoint picker": versions.PICKER, "vLLM": versions.VLLM},
    models=label_values("target_model_name", "llm_d_epp_request_total"),
    signals={**vllm.PRESET.signals, **_PICKER},
)
