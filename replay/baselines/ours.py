"""Our engine, and what is left of it without forecasting or without coupling."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.engine import Engine
from policies.memory import Memory
from policies.profile import Profile
from policies.types import Decision, Hold, HoldReason, Observation, PerRole, Pools, Role
from replay.baselines.rule import Knobs, within_limits
from replay.refitting import Refits, Refitted
from replay.scene import Scene
from replay.simulator import Policy

# A pool that never limits the other one, and a link that limits neither.
_PLENTY = 512
_WIDE_BYTES_PER_SECOND = 1e15


def coupled(scene: Scene, knobs: Knobs) -> Policy:
    """The engine as the service runs it, models and all where the settings name some."""
    engine = Engine(scene.profile, scene.settings)
    return WithHeadroom(Refitted(engine, Refits.of(scene.settings.forecast)), knobs.headroom)


def rate_reactive(scene: Scene, knobs: Knobs) -> Policy:
    """Our performance model, coupled solve and guards on the rate seen now, without a forecast."""
    return WithHeadroom(Forgetful(Engine(scene.profile, scene.settings)), knobs.headroom)


def independent(scene: Scene, knobs: Knobs) -> Policy:
    """Our engine with each role solved as if the other had replicas in plenty."""
    return WithHeadroom(Uncoupled(scene, scene.profile), knobs.headroom)


def separate(scene: Scene, knobs: Knobs) -> Policy:
    """As `independent`, and blind to the KV link between the roles, as two loops elsewhere are."""
    transfer = scene.profile.transfer.model_copy(
        update={"bytes_per_second": _WIDE_BYTES_PER_SECOND, "ingress_bytes_per_second": None}
    )
    blind = scene.profile.model_copy(update={"transfer": transfer})
    return WithHeadroom(Uncoupled(scene, blind), knobs.headroom)


@dataclass(frozen=True, slots=True)
class WithHeadroom:
    """Shows a policy `headroom` times the arrival rate."""

    policy: Policy
    headroom: float

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Decide for the load times the headroom."""
        rate = observation.requests_per_second
        if rate is not None and self.headroom != 1.0:
            observation = replace(observation, requests_per_second=rate * self.headroom)
        return self.policy.decide(observation, pools, memory, now_seconds)


@dataclass(frozen=True, slots=True)
class Forgetful:
    """An engine that forgets past loads, so that the present one is its whole outlook."""

    engine: Engine

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Decide on the load of now; raw sizes are kept, for the scale-in window."""
        memory = replace(memory, seconds=(), loads=(), trackers=())
        return self.engine.decide(observation, pools, memory, now_seconds)


class Uncoupled:
    """Two engines, one per role, each blind to the other's queue and never limited by it.

    Together they may exceed the budget; then both shrink in proportion.
    """

    def __init__(self, scene: Scene, profile: Profile) -> None:
        self._scene, self._profile = scene, profile
        self._engines = PerRole.of(self._engine)
        self._memories = PerRole.of(lambda _: Memory())

    def _engine(self, role: Role) -> Engine:
        settings = self._scene.settings
        other = Role.DECODE if role is Role.PREFILL else Role.PREFILL
        plenty = settings.roles[other].model_copy(
            update={"min_replicas": _PLENTY, "max_replicas": _PLENTY}
        )
        update = {other.value: plenty, "gpu_budget": None}
        return Engine(self._profile, settings.model_copy(update=update))

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Take each role's size from its own engine."""
        decisions = PerRole.of(lambda role: self._one(role, observation, pools, now_seconds))
        current, target = decisions.prefill.current, _own_targets(decisions)
        if current is None or target is None:
            return decisions.prefill, memory
        target = within_limits(target, self._scene.profile, self._scene.settings)
        hold = Hold(HoldReason.ALREADY_RIGHT, "neither role wants another size")
        return replace(
            decisions.prefill,
            target=target,
            raw=None,
            foresight=None,
            hold=hold if target == current else None,
        ), memory

    def _one(
        self, role: Role, observation: Observation, pools: Pools, now_seconds: float
    ) -> Decision:
        unknown: PerRole[float | None] = PerRole(None, None)
        own = unknown.but(role, observation.waiting_requests[role])
        blinded = replace(observation, waiting_requests=own)
        if role is Role.PREFILL:
            blinded = replace(blinded, kv_transfer_backlog_requests=None)
        decision, memory = self._engines[role].decide(
            blinded, pools, self._memories[role], now_seconds
        )
        self._memories = self._memories.but(role, memory)
        return decision


def _own_targets(decisions: PerRole[Decision]) -> PerRole[int] | None:
    prefill, decode = decisions.prefill.target, decisions.decode.target
    return PerRole(prefill.prefill, decode.decode) if prefill and decode else None
