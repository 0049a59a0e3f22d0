"""What a policy is played against: one workload on one kind of fleet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from policies.config import PolicySettings
from policies.profile import Profile
from policies.types import PerRole
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant
from replay.scoring import Score
from replay.simulator import Policy, Static, Step, Watch, run
from replay.traces import Trace

TICK_SECONDS = 10.0


class Lens(Protocol):
    """What stands between a fleet and those who decide; cheap to send to another process."""

    def watch(self, fleet: Fleet, settings: PolicySettings) -> Watch:
        """Begin to look at a fleet through it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A trace, and the fleet as it is (`physics`) and as policies believe it to be (`profile`).

    `truth` is what a profile of this fleet would say; only the clairvoyant bound may look at it.
    Every policy starts with the same `initial` pair, ready at once. `compiled` is the plant's.
    Policies see the fleet through the `lens`, or as it is.
    """

    trace: Trace
    physics: Physics
    truth: Profile
    profile: Profile
    settings: PolicySettings
    initial: PerRole[int]
    tick_seconds: float = TICK_SECONDS
    seed: int = 0
    compiled: bool | None = None
    lens: Lens | None = None

    def play(
        self,
        policy: Policy,
        *,
        tick_seconds: float | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> Score:
        """Run a policy from the first request to the last token; a fixed fleet starts as such.

        `tick_seconds` replaces the scene's for a policy that decides at another pace.
        """
        initial = policy.replicas if isinstance(policy, Static) else self.initial
        plant = Plant(self.physics, initial, seed=self.seed, compiled=self.compiled)
        fleet = Fleet(plant, self.trace.chunks(), self.settings.slo)
        return run(
            fleet,
            policy,
            tick_seconds=tick_seconds or self.tick_seconds,
            on_step=on_step,
            watch=self.lens.watch(fleet, self.settings) if self.lens else None,
        )
