"""Counts sizes that were taken back: the sign of a policy that follows noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from policies.types import Role
from replay.simulator import Step

WITHIN_SECONDS = 600.0
_ONE_MOVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Move:
    """Changes of a role's size in one direction, each within a minute of the one before."""

    began_seconds: float
    ended_seconds: float
    change: int

    def goes_on(self, later: _Move) -> bool:
        soon = later.began_seconds - self.ended_seconds <= _ONE_MOVE_SECONDS
        return soon and self.change * later.change > 0

    def taken_back_by(self, later: _Move) -> bool:
        """Whether all of it is taken back soon, and that is at least half of what is done then."""
        opposite = self.change * later.change < 0
        soon = later.began_seconds - self.ended_seconds < WITHIN_SECONDS
        return soon and opposite and abs(self.change) <= abs(later.change) <= 2 * abs(self.change)


class Flaps:
    """How often a role's size went back within ten minutes of leaving it.

    1 -> 2 -> 1 is one flap, and so is 4 -> 6 -> 3. 4 -> 6 -> 5 is none: part of it was right. Nor
    is 5 -> 4 -> 16: the load asks for more than was given back. What follows within a minute is one
    move: 2 -> 9 -> 14 -> 9 leaves most of it. A burst that is over sooner makes a flap of any
    policy that follows it both ways.
    """

    def __init__(self) -> None:
        self._moves: dict[Role, list[_Move]] = {role: [] for role in Role}

    @property
    def count(self) -> int:
        """Flaps of both roles so far."""
        return sum(
            move.taken_back_by(later)
            for moves in self._moves.values()
            for move, later in pairwise(moves)
        )

    def add(self, step: Step) -> None:
        """See one tick."""
        target = step.decision.target
        if target is None or not step.decision.changes:
            return
        now_seconds = step.decision.decided_at_seconds
        for role in Role:
            change = target[role] - step.pools[role].desired_replicas
            if change:
                self._move(role, _Move(now_seconds, now_seconds, change))

    def _move(self, role: Role, move: _Move) -> None:
        moves = self._moves[role]
        if moves and moves[-1].goes_on(move):
            last = moves.pop()
            move = replace(last, ended_seconds=move.ended_seconds, change=last.change + move.change)
        moves.append(move)
