"""Counts sizes that were taken back: the sign of a policy that follows noise."""

from __future__ import annotations

from typing import NamedTuple

from policies.types import PerRole, Role
from replay.simulator import Step

WITHIN_SECONDS = 600.0


class _Change(NamedTuple):
    seconds: float
    before: int
    after: int

    def taken_back_by(self, later: _Change) -> bool:
        """Whether the size is where it was before this change, or beyond it, soon after."""
        soon = later.seconds - self.seconds < WITHIN_SECONDS
        return soon and (self.after - self.before) * (later.after - self.before) <= 0


class Flaps:
    """How often a role's size went back, or beyond, within ten minutes of leaving it.

    1 -> 2 -> 1 is one flap, and so is 4 -> 6 -> 3; 4 -> 6 -> 5 is none: part of it was right.
    A burst that is over sooner makes one of any policy that follows it both ways.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: PerRole[_Change | None] = PerRole(None, None)

    def add(self, step: Step) -> None:
        """See one tick."""
        target = step.decision.target
        if target is None or not step.decision.changes:
            return
        for role in Role:
            before = step.pools[role].desired_replicas
            if target[role] != before:
                self._change(role, _Change(step.decision.decided_at_seconds, before, target[role]))

    def _change(self, role: Role, change: _Change) -> None:
        last = self._last[role]
        self.count += last is not None and last.taken_back_by(change)
        self._last = self._last.but(role, change)
