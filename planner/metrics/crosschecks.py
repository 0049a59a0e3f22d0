"""Catches numbers that cannot be true together, before anything is decided on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from planner.metrics.reading import Reading
from planner.metrics.signals import SIGNALS
from policies.types import Observation, PerRole, Role

# A decode pod beyond this share of its KV memory admits a request only when another ends.
_FULL = 0.95


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is seen now, the observations of the past window, oldest first, and the raw signals.

    `doubts` are those of whoever evaluated the queries.
    """

    now: Observation
    past: tuple[Observation, ...]
    reading: Reading
    doubts: tuple[str, ...] = ()

    @property
    def a_window_ago(self) -> Observation | None:
        """What was seen where the window of the rates begins, or nearly."""
        if not self.past:
            return None
        seconds = self.now.observed_at_seconds - self.past[0].observed_at_seconds
        return self.past[0] if seconds >= 0.75 * self.now.window_seconds else None


@dataclass(frozen=True, slots=True)
class Finding:
    """A contradiction in words for the operator, and the observation without what it refutes."""

    problem: str
    leave_out: Callable[[Observation], Observation] = lambda seen: seen


def requests_are_conserved(evidence: Evidence) -> Iterator[Finding]:
    """Little's book-keeping: what arrived and did not end must be inside.

    Example: 40 requests/s arrive, 20 end and nothing piles up in 60 s: 1,200 requests are missing,
    so each arrival was counted twice.
    """
    now, before = evidence.now, evidence.a_window_ago
    arrived, ended = now.requests_per_second, now.finished_per_second
    if before is None or arrived is None or ended is None:
        return
    inside, were_inside = _inside(now), _inside(before)
    if inside is None or were_inside is None:
        return
    seconds = now.observed_at_seconds - before.observed_at_seconds
    missing = (arrived - ended) * seconds - (inside - were_inside)
    # The oldest scrape in a rate's window is younger than the gauges of then: what arrived or ended
    # in between, at the rates of then, is not in it.
    rates = (arrived, ended, before.requests_per_second or 0.0, before.finished_per_second or 0.0)
    if abs(missing) <= max(10.0, 0.25 * max(rates) * seconds):
        return
    seen = (
        f"{arrived:.3g} requests/s arrive and {ended:.3g} end, but within {seconds:.0f} s those "
        f"inside went from {were_inside:.0f} to {inside:.0f}"
    )
    if missing < 0:
        yield Finding(f"{seen}: some requests bypass the counter of arrivals")
    elif 1.8 < arrived / max(ended, 1e-9) < 2.2:
        yield Finding(f"{seen}: every arrival seems to be counted twice")
    else:
        yield Finding(f"{seen}: arrivals are counted too often, or ends too seldom")


def _inside(seen: Observation, roles: Iterable[Role] = Role) -> float | None:
    counts = [
        each[role] for role in roles for each in (seen.waiting_requests, seen.running_requests)
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def prompts_reach_prefill(evidence: Evidence) -> Iterator[Finding]:
    """The prefill pods take about the prompt tokens of the requests that end or stay in decode."""
    seen, taken = evidence.now, evidence.reading.number("prefill_tokens_per_second")
    before, ended = evidence.a_window_ago, seen.finished_per_second
    if taken is None or ended is None or seen.input_tokens is None or before is None:
        return
    seconds = seen.observed_at_seconds - before.observed_at_seconds
    stay, stayed = (_inside(each, (Role.DECODE,)) or 0.0 for each in (seen, before))
    brought = (ended + (stay - stayed) / seconds) * seen.input_tokens.mean
    if abs(taken - brought) < 1000:
        return
    amounts = (
        f"prefill pods take {taken:.0f} prompt tokens/s, requests that end or stay in decode bring "
        f"{brought:.0f}"
    )
    if taken > 1.5 * brought:
        yield Finding(f"{amounts}: some requests bypass what is counted")
    elif taken < 0.5 * brought:
        yield Finding(
            f"{amounts}: metrics.prefill_pods misses pods, or decode pods prefill by themselves"
        )


def outputs_are_of_decode(evidence: Evidence) -> Iterator[Finding]:
    """Gaps between tokens need two tokens; prefill pods report requests of one."""
    seen = evidence.now
    mean = seen.output_tokens_mean
    if mean is not None and mean <= 1.01 and seen.itl.mean_seconds is not None:
        yield Finding(
            "the output length is 1 although tokens follow one another: it is that of prefill "
            "pods, so metrics.decode_pods (or the query) selects the wrong pods",
            lambda seen: replace(seen, output_tokens_mean=None, output_tokens=None),
        )


def queues_move(evidence: Evidence) -> Iterator[Finding]:
    """A queue that stays the same to the request while nothing runs is a leftover, not demand."""
    seen = evidence.now
    span = seen.observed_at_seconds - evidence.past[0].observed_at_seconds if evidence.past else 0
    if span < 0.75 * seen.window_seconds or len(evidence.past) < 3:
        return
    for role in Role:
        waiting = seen.waiting_requests[role]
        same = all(past.waiting_requests[role] == waiting for past in evidence.past)
        if waiting and same and seen.running_requests[role] == 0 and not seen.finished_per_second:
            yield Finding(
                f"{waiting:.0f} requests have waited for {role} for {span:.0f} s without any "
                "running or ending: the queue is stuck and is left out",
                partial(_without_queue, role),
            )


def _without_queue(role: Role, seen: Observation) -> Observation:
    waiting = PerRole.of(lambda each: None if each is role else seen.waiting_requests[each])
    return replace(seen, waiting_requests=waiting)


def pods_are_alive(evidence: Evidence) -> Iterator[Finding]:
    """Gauges of deleted pods linger for minutes where their end was not recorded."""
    for role in Role:
        reporting = evidence.reading.number(f"{role}_reporting_pods")
        alive = evidence.now.live_pods[role]
        if reporting is not None and alive is not None and reporting > alive:
            yield Finding(
                f"gauges of {reporting:.0f} {role} pods are counted, of which {alive:.0f} still "
                "answer: queues and running requests are too high"
            )


def kv_use_is_even(evidence: Evidence) -> Iterator[Finding]:
    """The mean of the decode pods speaks for all of them, or it hides a full one.

    Example: of four pods one is full and three are at 30%. The mean of 48% says that half the
    memory is free, yet requests wait at the full one, and would wait longer with one pod less.
    """
    mean, most = evidence.now.kv_usage_fraction, evidence.now.kv_usage_max_fraction
    if mean is None or most is None:
        return
    if most < mean - 0.01:
        yield Finding(
            f"the fullest decode pod uses {most:.0%} of its KV memory, less than the mean of "
            f"{mean:.0%}: the two read different pods"
        )
    elif most >= _FULL and mean < 0.75 * most:
        yield Finding(
            f"a decode pod uses {most:.0%} of its KV memory, the mean is {mean:.0%}: requests are "
            "unevenly routed, so the mean hides that some of them wait for room"
        )


def fractions_are_fractions(evidence: Evidence) -> Iterator[Finding]:
    """A share above 1 is a percentage or a wrong query."""
    for name, kind in SIGNALS.items():
        value = evidence.reading.number(name)
        if kind.unit == "fraction" and value is not None and value > 1.01:
            yield Finding(f"{name} is {value:g}, which is no fraction of 0 to 1: it is left out")


CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    requests_are_conserved,
    prompts_reach_prefill,
    outputs_are_of_decode,
    queues_move,
    pods_are_alive,
    kv_use_is_even,
    fractions_are_fractions,
)


def findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Everything that cannot be true."""
    return tuple(finding for check in CHECKS for finding in check(evidence))
