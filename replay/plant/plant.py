"""The simulated fleet as its users see it: offer requests, advance, scale, look."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

import numpy as np

from policies.types import PerRole, Role
from replay.compiled import is_warm, machine_code
from replay.physics import LostWork, Physics, ScaleIn, StartUp
from replay.plant import fleet
from replay.plant.columns import Storage
from replay.plant.crash import kill, lose, resend
from replay.plant.events import ARRIVALS_USED_UP, REACHED, SLOTS_FULL, run
from replay.plant.outcomes import Outcomes
from replay.plant.records import Finished, FirstTokens, Snapshot
from replay.plant.snapshot import take_snapshot
from replay.plant.state import (
    ARRIVAL_ROWS,
    MOVED_BYTES,
    NEXT_ARRIVAL,
    READY,
    ROUTER,
    STARTING,
    Laws,
)
from replay.plant.timers import set_timer
from replay.requests import Requests

_ROWS_AT_ONCE = 65_536  # arrivals given to the event loop at a time; bounds the copies


class Plant:
    """A fleet of prefill and decode replicas, request by request; see docs/simulator.md.

    The initial replicas are ready at once. `compiled` runs the event loop as machine code: True
    wants it (ImportError without numba; the very first use compiles for some 20 seconds), False
    never does, None does if an earlier run has left it on disk. Results do not depend on it.
    """

    def __init__(
        self,
        physics: Physics,
        replicas: PerRole[int],
        *,
        seed: int = 0,
        start_seconds: float = 0.0,
        compiled: bool | None = None,
    ) -> None:
        use_machine_code = is_warm(run) if compiled is None else compiled
        self._run = machine_code(run) if use_machine_code else run
        self._storage = Storage(arrays=use_machine_code)
        self._physics = physics
        self._laws = Laws.of(physics)
        self._random = np.random.default_rng(seed)
        self._home_random = np.random.default_rng([seed, 1])  # apart, so that scaling changes none
        self._now_seconds = float(start_seconds)
        self._state = self._storage.empty_state(self._laws)
        self._outcomes = Outcomes()
        self._offered: deque[Requests] = deque()
        self._last_offered_seconds = self._now_seconds
        self._desired = PerRole(0, 0)
        self._billed_seconds = PerRole(0.0, 0.0)
        self._moved_before = (self._now_seconds, 0.0)
        self._resize(replicas, PerRole(StartUp(0.0), StartUp(0.0)))
        self.advance(self._now_seconds)

    @property
    def now_seconds(self) -> float:
        """How far the fleet has been advanced."""
        return self._now_seconds

    def offer(self, requests: Requests) -> None:
        """Add future arrivals, in order.

        A fraction of an output token counts as one. ValueError for arrivals in the past or out of
        order, and for lengths that make no sense.
        """
        if len(requests) == 0:
            return
        _check(requests, max(self._now_seconds, self._last_offered_seconds))
        self._last_offered_seconds = float(requests.arrival_seconds[-1])
        requests = replace(requests, output_tokens=np.ceil(requests.output_tokens))
        for first in range(0, len(requests), _ROWS_AT_ONCE):
            self._offered.append(requests.take(slice(first, first + _ROWS_AT_ONCE)))
        if self._state.counts[NEXT_ARRIVAL] == self._state.counts[ARRIVAL_ROWS]:
            self._load_arrivals()

    def advance(self, until_seconds: float) -> None:
        """Process everything up to and including that time. ValueError for a time in the past."""
        if not self._now_seconds <= until_seconds < math.inf:
            raise ValueError(
                f"the fleet is at {self._now_seconds} s and cannot be advanced to {until_seconds} s"
            )
        self._moved_before = (self._now_seconds, float(self._state.totals[MOVED_BYTES]))
        while (why := self._run(self._state, self._laws, float(until_seconds))) != REACHED:
            if why == ARRIVALS_USED_UP:
                self._load_arrivals()
            elif why == SLOTS_FULL:
                slots = 2 * len(self._state.slots.next)
                self._state = self._storage.with_slots(self._state, slots)
            else:
                self._outcomes.collect(self._state)
        self._now_seconds = float(until_seconds)

    def scale(self, target: PerRole[int]) -> None:
        """Ask for that many replicas of each role, now; 0 is allowed, arrivals then wait.

        Growing starts replicas. Shrinking first gives up those that are starting, then drains
        (or kills, as the physics says) ready ones, the youngest first as Kubernetes does; a
        draining replica does not come back.
        """
        self._resize(target, self._physics.startup_seconds)

    def crash(self, role: Role) -> None:
        """Kill one ready replica, drawn by the seed; another is started in its place.

        Its requests are sent again or lost, as the physics says. ValueError if none is ready.
        """
        ready = fleet.replicas_that_are(self._state, role, READY)
        if not ready:
            raise ValueError(f"no {role} replica is ready, so none can crash")
        self._kill(role, ready[int(self._random.integers(len(ready)))])
        self._start(role, self._physics.startup_seconds[role])

    def take_first_tokens(self) -> FirstTokens:
        """First tokens since the last call."""
        self._outcomes.collect(self._state)
        return self._outcomes.take_first_tokens(self._now_seconds)

    def take_finished(self) -> Finished:
        """Requests finished since the last call."""
        self._outcomes.collect(self._state)
        return self._outcomes.take_finished()

    def snapshot(self) -> Snapshot:
        """The fleet now; looking changes nothing."""
        return take_snapshot(
            self._state,
            self._laws,
            self._now_seconds,
            self._desired,
            self._link_utilisation(),
            self._gpu_seconds(),
        )

    def _resize(self, target: PerRole[int], startup: PerRole[StartUp]) -> None:
        if min(target) < 0:
            raise ValueError(f"a pool cannot have a negative number of replicas: {target}")
        for role, wanted in target.items():
            self._bill_gone(role)
            starting = fleet.replicas_that_are(self._state, role, STARTING)
            ready = fleet.replicas_that_are(self._state, role, READY)
            for _ in range(wanted - len(starting) - len(ready)):
                self._start(role, startup[role])
            surplus = max(0, len(starting) + len(ready) - wanted)
            cancelled = starting[::-1][:surplus]
            for replica in cancelled:
                fleet.cancel(self._state, role, replica, self._now_seconds)
            for replica in ready[::-1][: surplus - len(cancelled)]:
                if self._physics.scale_in is ScaleIn.KILL:
                    self._kill(role, replica)
                else:
                    fleet.drain(self._state, role, replica, self._now_seconds)
        self._desired = target

    def _start(self, role: Role, startup: StartUp) -> None:
        replica = fleet.absent_replica(self._state, role)
        if replica is None:
            replica = len(fleet.pool_of(self._state, role).status)
            self._state = self._storage.with_replicas(self._state, self._laws, 2 * replica)
        delay = startup.median_seconds
        if startup.spread > 0.0:
            delay *= math.exp(startup.spread * self._random.standard_normal())
        fleet.start(self._state, role, replica, self._now_seconds, delay)

    def _kill(self, role: Role, replica: int) -> None:
        victims = kill(self._state, self._laws, role, replica, self._now_seconds)
        self._outcomes.collect(self._state)
        self._outcomes.forget_first_tokens(victims, self._now_seconds)
        if self._physics.lost_work is LostWork.RETRY:
            resend(self._state, self._laws, victims, self._now_seconds)
        else:
            lose(self._state, victims)

    def _load_arrivals(self) -> None:
        """Give the next block of arrivals to the event loop, if there is one."""
        if not self._offered:
            return
        block = self._offered.popleft()
        arrivals = self._storage.arrivals(block, self._home_random.random(len(block)))
        self._state = self._state._replace(arrivals=arrivals)
        self._state.counts[NEXT_ARRIVAL] = 0
        self._state.counts[ARRIVAL_ROWS] = len(block)
        set_timer(self._state.stations, ROUTER, float(block.arrival_seconds[0]))

    def _bill_gone(self, role: Role) -> None:
        seconds = self._billed_seconds[role] + sum(fleet.bill_gone(self._state, role))
        self._billed_seconds = self._billed_seconds.but(role, seconds)

    def _gpu_seconds(self) -> PerRole[float]:
        return PerRole.of(
            lambda role: (
                self._physics.gpus_per_replica[role]
                * (
                    self._billed_seconds[role]
                    + fleet.unbilled_seconds(self._state, role, self._now_seconds)
                )
            )
        )

    def _link_utilisation(self) -> PerRole[float]:
        since, moved_before = self._moved_before
        moved = float(self._state.totals[MOVED_BYTES]) - moved_before
        capacity = PerRole(self._laws.egress, self._laws.ingress)

        def utilisation(role: Role) -> float:
            replicas = len(fleet.replicas_that_are(self._state, role, READY))
            most = replicas * capacity[role] * (self._now_seconds - since)
            return min(1.0, moved / most) if most > 0.0 else 0.0

        return PerRole.of(utilisation)


def _check(requests: Requests, earliest_seconds: float) -> None:
    arrivals = requests.arrival_seconds
    if not arrivals[0] >= earliest_seconds:
        raise ValueError(
            f"an arrival at {arrivals[0]} s is in the past: the fleet, or what it was offered "
            f"before, is at {earliest_seconds} s"
        )
    wrong = {
        "arrival_seconds must be finite and not decrease": ~(np.diff(arrivals) >= 0),
        "input_tokens must be > 0": ~(requests.input_tokens > 0),
        "output_tokens must be >= 1": ~(requests.output_tokens >= 1),
        "cached_tokens must be between 0 and input_tokens": ~(
            (requests.cached_tokens >= 0) & (requests.cached_tokens <= requests.input_tokens)
        ),
    }
    for rule, rows in wrong.items():
        if rows.any():
            raise ValueError(f"{rule}; see request {int(np.argmax(rows))} of those offered")
