"""Sizes laid down in advance, as a policy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from policies.memory import Memory
from policies.types import Decision, Observation, PerRole, Pools, Role


class Stretch(NamedTuple):
    """Consecutive slots in which one role keeps its size."""

    role: Role
    first_slot: int
    end_slot: int
    size: int

    @property
    def slots(self) -> int:
        """How many slots it lasts."""
        return self.end_slot - self.first_slot


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sizes that must be ready in each slot; a policy that knew them in advance."""

    slot_seconds: float
    sizes: tuple[PerRole[int], ...]
    lead_seconds: PerRole[float]

    def decide(
        self,
        observation: Observation,  # noqa: ARG002 - a policy's signature
        pools: Pools,  # noqa: ARG002 - a policy's signature
        memory: Memory,
        now_seconds: float,
    ) -> tuple[Decision, Memory]:
        """Ask for each replica one lead time before its slot, and keep it until the slot ends.

        The lead is the start-up time and a tick, the next chance to ask. A gap shorter than the
        start-up time is bridged: waiting costs no more than starting again.
        """
        target = PerRole.of(lambda role: self._needed(role, now_seconds))
        return Decision(decided_at_seconds=now_seconds, current=None, target=target), memory

    def _needed(self, role: Role, now_seconds: float) -> int:
        until = now_seconds + self.lead_seconds[role]
        last = len(self.sizes) - 1
        first = min(int(now_seconds / self.slot_seconds), last)
        end = min(math.ceil(until / self.slot_seconds), last + 1)
        return max(size[role] for size in self.sizes[first : max(end, first + 1)])

    def lowered(self, stretch: Stretch) -> Schedule:
        """The same with one replica less throughout a stretch."""
        changed = list(self.sizes)
        for slot in range(stretch.first_slot, stretch.end_slot):
            changed[slot] = changed[slot].but(stretch.role, stretch.size - 1)
        return Schedule(self.slot_seconds, tuple(changed), self.lead_seconds)

    def stretches(self) -> list[Stretch]:
        """Every run of equal sizes, role by role."""
        found = []
        for role in Role:
            sizes = np.array([pair[role] for pair in self.sizes])
            edges = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
            found += [
                Stretch(role, first, end, int(sizes[first])) for first, end in pairwise(edges)
            ]
        return found
