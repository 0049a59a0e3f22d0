"""PromQL phrases that presets share. Matchers follow `$where`, which brings its own comma."""

from __future__ import annotations

from planner.metrics.preset import Signal

MODELS = 'model=~"$models"'
MODEL_NAME = 'model_name="$model"'
TARGET = 'target_model_name="$model"'
PREFILL_PODS = 'pod=~"$prefill_pods"'
DECODE_PODS = 'pod=~"$decode_pods"'
ALL_PODS = 'pod=~"(?:$prefill_pods)|(?:$decode_pods)"'


def select(name: str, matchers: str) -> str:
    """The series of a metric."""
    return f"{name}{{$where {matchers}}}"


def rate(counter: str, matchers: str) -> str:
    """Growth per second, per series first and then summed: counters restart on their own."""
    return f"sum(rate({select(counter, matchers)}[$window]))"


def samples(counter: str, matchers: str) -> str:
    """The samples of a counter themselves, over some minutes."""
    return f"{select(counter, matchers)}[$span]"


def slope(gauge_name: str, matchers: str) -> str:
    """Growth per second of a gauge, each series on its own, so that pods may come and go."""
    return f"sum(deriv({select(gauge_name, matchers)}[$window]))"


def plus(*terms: str) -> str:
    """A sum of parts; unknown if one of them is."""
    return " + ".join(terms)


def or_zero(query: str) -> str:
    """A part that may rightly be absent, such as the queue of a stage that is switched off."""
    return f"({query} or vector(0))"


def ratio(over: str, under: str) -> str:
    """Quotient; empty, thus unknown, where nothing happened."""
    return f"{over} / ({under} > 0)"


def mean(histogram: str, matchers: str) -> str:
    """Mean of what a histogram saw in the window, exact whatever its edges."""
    return ratio(rate(f"{histogram}_sum", matchers), rate(f"{histogram}_count", matchers))


def buckets(histogram: str, matchers: str) -> str:
    """Cumulative rates by upper edge."""
    return f"sum by (le) (rate({select(f'{histogram}_bucket', matchers)}[$window]))"


def gauge(reduce: str, name: str, matchers: str) -> str:
    """`reduce` (sum, avg, max) over the series of a gauge."""
    return f"{reduce}({select(name, matchers)})"


def rank_gauge(reduce: str, name: str, matchers: str) -> str:
    """The same where every tensor-parallel rank repeats its replica's number."""
    return f"{reduce}(max by (pod, dp_rank) ({select(name, matchers)}))"


def age(name: str, matchers: str) -> str:
    """Seconds since the newest sample."""
    return f"time() - max(timestamp({select(name, matchers)}))"


def label_values(label: str, name: str) -> str:
    """One series for each value that a label of a metric has."""
    return f"count by ({label}) ({name}{{$where}})"


def pods(
    role: str, matchers: str, gauges: tuple[str, ...], counters: tuple[str, ...] = ()
) -> dict[str, Signal]:
    """How well the pods of a role are seen, by gauges that each pod has; counters have an age."""
    up = select("up", matchers)
    return {
        f"{role}_age_seconds": Signal(
            tuple(age(name, matchers) for name in (*gauges, *counters)),
            meaning=f"time since the newest sample of a {role} pod",
        ),
        f"{role}_coverage_fraction": Signal(
            (f"avg({up})",), meaning=f"share of the {role} pods that answered their last scrape"
        ),
        f"{role}_live_pods": Signal(
            (f"count(count by (pod) ({up} == 1))",),
            meaning=f"{role} pods that answered their last scrape",
        ),
        f"{role}_reporting_pods": Signal(
            tuple(f"count(count by (pod) ({select(name, matchers)}))" for name in gauges),
            meaning=f"{role} pods whose gauges are counted",
        ),
    }
