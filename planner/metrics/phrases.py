"""PromQL phrases that presets share. Matchers follow `$where`, which brings its own comma."""

from __future__ import annotations


def rate(counter: str, matchers: str) -> str:
    """Growth per second, per series first and then summed: counters restart on their own."""
    return f"sum(rate({counter}{{$where {matchers}}}[$window]))"


def ratio(over: str, under: str) -> str:
    """Quotient; empty, thus unknown, where nothing happened."""
    return f"{over} / ({under} > 0)"


def mean(histogram: str, matchers: str) -> str:
    """Mean of what a histogram saw in the window, exact whatever its edges."""
    return ratio(rate(f"{histogram}_sum", matchers), rate(f"{histogram}_count", matchers))


def buckets(histogram: str, matchers: str) -> str:
    """Cumulative rates by upper edge."""
    return f"sum by (le) (rate({histogram}_bucket{{$where {matchers}}}[$window]))"


def gauge(reduce: str, name: str, matchers: str) -> str:
    """`reduce` (sum, avg, max) over the series of a gauge."""
    return f"{reduce}({name}{{$where {matchers}}})"


def rank_gauge(reduce: str, name: str, matchers: str) -> str:
    """The same where every tensor-parallel rank repeats its replica's number."""
    return f"{reduce}(max by (pod, dp_rank) ({name}{{$where {matchers}}}))"
