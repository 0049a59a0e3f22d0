"""How long requests queued after a fleet had been too small."""

from __future__ import annotations

from policies.config import Slo
from policies.types import Observation
from replay.simulator import Step


class Backlogs:
    """The longest backlog of a run, and the longest time that one took to drain.

    A backlog is more requests waiting (for prefill, for a KV transfer or for decode) than arrive
    in one TTFT objective, that of a prompt of mean length: by Little's law the last of them waits
    longer than that. It grows for as long as more comes than is served; the excess is over when it
    is longest, and it drains from then until it is back to normal. Example at 5 requests/s and
    2 s: 11 wait from minute 3 on, 400 in minute 5, 10 in minute 6: a backlog of 180 s that drained
    in 60 s.
    """

    def __init__(self, slo: Slo) -> None:
        self._slo = slo
        self.longest_seconds = 0.0
        self.drain_seconds = 0.0
        self._began: float | None = None
        self._longest_at, self._most = 0.0, 0.0

    def add(self, step: Step) -> None:
        """See one tick. What is unknown of the queues counts as empty, of arrivals as none."""
        seen = step.observation
        now, waiting = seen.observed_at_seconds, _waiting(seen)
        tokens = seen.input_tokens.mean if seen.input_tokens else 0.0
        normal = (seen.requests_per_second or 0.0) * self._slo.ttft_objective_seconds(tokens)
        if self._began is None:
            if waiting <= max(normal, 1.0):
                return
            self._began, self._most = now, 0.0
        if waiting >= self._most:
            self._longest_at, self._most = now, waiting
        self.longest_seconds = max(self.longest_seconds, now - self._began)
        self.drain_seconds = max(self.drain_seconds, now - self._longest_at)
        if waiting <= max(normal, 1.0):
            self._began = None


def _waiting(seen: Observation) -> float:
    """A request whose KV is under way may be counted at decode too: the larger, not the sum."""
    queued = seen.waiting_requests.map(lambda count: count or 0.0)
    return queued.prefill + max(queued.decode, seen.kv_transfer_backlog_requests or 0.0)
