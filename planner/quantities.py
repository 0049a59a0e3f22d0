"""How sizes, times and shares are written for people."""

from __future__ import annotations

import math

from policies.types import PerRole


def pair(replicas: PerRole[int] | None) -> str:
    """Write a pair of replica counts as prefill+decode: "3+4"."""
    return "unknown size" if replicas is None else f"{replicas.prefill}+{replicas.decode}"


def seconds(value: float) -> str:
    """Write a duration in the unit that people read it in: "31 ms", "1.42 s"."""
    if not math.isfinite(value):
        return "unbounded"
    if value < 1:
        return f"{value * 1000:.3g} ms"
    return f"{value:.3g} s" if value < 1000 else f"{value:.0f} s"


def share(fraction: float) -> str:
    """Write a share of requests, finer where one digit would read as all: "97.1%", "99.96%"."""
    if 0.0 < fraction < 0.99995:
        return f"{fraction:.1%}" if fraction < 0.9995 else f"{fraction:.2%}"
    return f"{fraction:.0%}"


def between(low: str, high: str) -> str:
    """Write a range; a single value where both ends read the same."""
    return high if low == high else f"{low} to {high}"
