"""The vocabulary of presets: every signal that may be asked for, its unit and its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Origin(StrEnum):
    """Who reports a signal: where requests come in, or the pods of a role."""

    DEMAND = "demand"
    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class Kind:
    """Unit and origin of a signal. Buckets are cumulative rates by label `le`."""

    unit: str
    origin: Origin = Origin.DEMAND
    needed: bool = False  # a decision is worse without it, so its absence is a problem

    @property
    def is_histogram(self) -> bool:
        """Whether the answer is a vector of buckets, not one number."""
        return self.unit.endswith("by le")


def _of_role(origin: Origin) -> dict[str, Kind]:
    return {
        f"{origin}_waiting_requests": Kind("requests", origin, needed=True),
        f"{origin}_running_requests": Kind("requests", origin, needed=True),
        f"{origin}_age_seconds": Kind("s", origin),
        f"{origin}_coverage_fraction": Kind("fraction", origin),
        f"{origin}_reporting_pods": Kind("pods", origin),
        f"{origin}_live_pods": Kind("pods", origin),
    }


SIGNALS: Mapping[str, Kind] = MappingProxyType(
    {
        "requests_per_second": Kind("requests/s", needed=True),
        "arrival_dispersion": Kind("variance/mean"),
        "finished_per_second": Kind("requests/s"),
        "demand_age_seconds": Kind("s"),
        "input_tokens_mean": Kind("tokens", needed=True),
        "input_tokens_buckets": Kind("requests/s by le"),
        "output_tokens_mean": Kind("tokens", needed=True),
        "output_tokens_buckets": Kind("requests/s by le"),
        "ttft_mean_seconds": Kind("s", needed=True),
        "ttft_buckets": Kind("requests/s by le"),
        "itl_mean_seconds": Kind("s", needed=True),
        "itl_buckets": Kind("tokens/s by le"),
        "prefix_hit_fraction": Kind("fraction"),
        **_of_role(Origin.PREFILL),
        **_of_role(Origin.DECODE),
        "prefill_tokens_per_second": Kind("tokens/s", Origin.PREFILL),
        "kv_usage_fraction": Kind("fraction", Origin.DECODE, needed=True),
        "kv_usage_max_fraction": Kind("fraction", Origin.DECODE),
        "kv_transfer_backlog_requests": Kind("requests", Origin.DECODE),
        "kv_transfer_mean_seconds": Kind("s", Origin.DECODE),
        "kv_transfer_bytes_per_second": Kind("bytes/s", Origin.DECODE),
        "kv_transfer_failures_per_second": Kind("failures/s", Origin.DECODE),
    }
)
