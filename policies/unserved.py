"""Requests that are counted as waiting though ready replicas stand idle: no queue, but a leak."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.types import Observation, PerRole, PoolState, Role, Trust

# So long do idle replicas leave a queue alone before it is taken for none.
_SURE_SECONDS = 300.0
_NONE = PerRole(0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """What waited all the time while replicas were ready and ran nothing, and for how long.

    Engines that serve at all begin with what waits. A count that stays where it is while nothing
    runs is a gauge that has missed the end of a request, or requests that nobody will serve: either
    way more replicas do not help, and would be kept for ever. Example: a router that lost a
    connection shows 1 request waiting, for days, at a rate of 0.

    It is sure after five minutes, on balance: what runs in between counts against it. From then on
    it stays until fewer are seen to wait.
    """

    requests: PerRole[float]
    seconds: float

    @property
    def leaked(self) -> PerRole[float]:
        """Requests to take from what is counted; 0 until it is sure."""
        return self.requests if self.seconds >= _SURE_SECONDS else _NONE

    def after(
        self, seen: Observation, pools: PerRole[PoolState], elapsed_seconds: float
    ) -> Unserved:
        """The same after another look at the queues and at what runs."""
        waiting = _waiting(seen)
        least = self.requests.zip(waiting).map(min) if self.seconds else waiting
        if not any(least):
            return ALL_SERVED
        if self.seconds >= _SURE_SECONDS:
            return replace(self, requests=least)
        # Between two looks of which one failed there may have been anything.
        counted = min(elapsed_seconds, seen.window_seconds)
        more = waiting != least
        seconds = self.seconds + (counted if _idle(seen, pools) and not more else -counted)
        return Unserved(requests=least, seconds=seconds) if seconds > 0 else ALL_SERVED

    def taken_from(self, seen: Observation) -> Observation:
        """What is seen without what has leaked."""
        leaked, behind = self.leaked, seen.kv_transfer_backlog_requests
        if not any(leaked):
            return seen
        waiting = seen.waiting_requests.zip(leaked).map(
            lambda pair: None if pair[0] is None else max(pair[0] - pair[1], 0.0)
        )
        behind = None if behind is None else max(behind - leaked.decode, 0.0)
        return replace(seen, waiting_requests=waiting, kv_transfer_backlog_requests=behind)

    @property
    def note(self) -> str | None:
        """What is left out of account, in words, for the decision."""
        counted = [f"{count:g} for {role}" for role, count in self.leaked.items() if count]
        if not counted:
            return None
        return (
            f"requests counted as waiting ({' and '.join(counted)}) were left alone by idle "
            f"replicas for {_SURE_SECONDS:g} s: a gauge that leaks, or nobody serves them; no queue"
        )


ALL_SERVED = Unserved(requests=_NONE, seconds=0.0)


def _waiting(seen: Observation) -> PerRole[float]:
    waiting = seen.waiting_requests.map(lambda count: count or 0.0)
    behind = max(waiting.decode, seen.kv_transfer_backlog_requests or 0.0)
    return waiting.but(Role.DECODE, behind)


def _idle(seen: Observation, pools: PerRole[PoolState]) -> bool:
    """Whether both roles are known to have replicas that serve, and to run nothing."""
    ready = all(pool.ready_replicas > 0 for pool in pools)
    return ready and seen.trust is Trust.FULL and seen.running_requests == _NONE
