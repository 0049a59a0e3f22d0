"""How each serving stack names a fleet's numbers, one file per stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from prometheus_client.metrics_core import Metric

from planner.metrics.exporters import dynamo, sglang, trtllm, vllm_llmd
from planner.metrics.families import Shown

Exporter = Callable[[Shown], Iterator[Metric]]

EXPORTERS: Mapping[str, Exporter] = MappingProxyType(
    {
        "dynamo": dynamo.export,
        "vllm-llmd": vllm_llmd.export,
        "vllm": vllm_llmd.export_engines,
        "sglang": sglang.export,
        "trtllm": trtllm.export,
    }
)
