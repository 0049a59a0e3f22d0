"""The fleet at one instant, read off its state."""

from __future__ import annotations

from policies.types import PerRole, Role
from replay.plant import fleet
from replay.plant.records import ReplicaCounts, Snapshot
from replay.plant.state import (
    ARRIVED,
    DRAINING,
    FINISHED,
    FLOWS,
    HANDOFF,
    HANDOFF_TOKENS,
    LOST,
    PREEMPTED,
    READY,
    REFUSED,
    ROUTER,
    STARTING,
    Laws,
    State,
)
from replay.plant.transfer import tokens_used


def take_snapshot(
    state: State,
    laws: Laws,
    now: float,
    desired: PerRole[int],
    link_utilisation: PerRole[float],
    gpu_seconds: PerRole[float],
) -> Snapshot:
    """Describe `state`; what it does not hold is passed in."""
    transfers_waiting = state.stations.length[HANDOFF]
    transfers_running = state.counts[FLOWS]
    landed = _queued(state, Role.DECODE)
    prefilling = _prefilling(state)
    usage = kv_usage(state, laws, now)
    return Snapshot(
        now_seconds=now,
        arrived_requests=int(state.counts[ARRIVED]),
        finished_requests=int(state.counts[FINISHED]),
        lost_requests=int(state.counts[REFUSED] + state.counts[LOST]),
        preemptions=int(state.counts[PREEMPTED]),
        waiting_requests=PerRole(
            int(state.stations.length[ROUTER] + _queued(state, Role.PREFILL) - prefilling),
            int(transfers_waiting + transfers_running + landed),
        ),
        running_requests=PerRole(int(prefilling), int(sum(state.decode.batch))),
        kv_usage_fraction=sum(usage) / len(usage) if usage else 0.0,
        kv_usage_max_fraction=max(usage, default=0.0),
        transfers_waiting=int(transfers_waiting),
        transfers_running=int(transfers_running),
        transfer_backlog_tokens=_backlog_tokens(state, laws, now),
        link_utilisation=link_utilisation,
        replicas=PerRole.of(lambda role: _count(state, role, now, desired[role])),
        gpu_seconds=gpu_seconds,
    )


def kv_usage(state: State, laws: Laws, now: float) -> list[float]:
    """Share of each ready decode replica's KV memory that is promised, or in use if none is."""
    ready = fleet.replicas_that_are(state, Role.DECODE, READY)
    return [float(tokens_used(state, laws, r, now)) / laws.decode_capacity for r in ready]


def _queued(state: State, role: Role) -> int:
    replicas = range(len(fleet.pool_of(state, role).status))
    return sum(state.stations.length[fleet.station_of(role, replica)] for replica in replicas)


def _prefilling(state: State) -> int:
    """Prompts in an iteration: those that end with it, and one more where it has a chunk."""
    chunks = sum(chunk > 0 for chunk in state.prefill.chunk_tokens)
    return sum(state.prefill.finishing) + chunks


def _backlog_tokens(state: State, laws: Laws, now: float) -> float:
    """Prompt tokens whose KV has not left prefill: waiting, and not yet moved."""
    if laws.bytes_per_token == 0.0:
        return float(state.totals[HANDOFF_TOKENS])
    moving = fleet.unmoved_bytes(state, now) / laws.bytes_per_token
    return float(state.totals[HANDOFF_TOKENS] + moving)


def _count(state: State, role: Role, now: float, desired: int) -> ReplicaCounts:
    starting = fleet.replicas_that_are(state, role, STARTING)
    asked = fleet.pool_of(state, role).asked_seconds
    return ReplicaCounts(
        desired=desired,
        ready=len(fleet.replicas_that_are(state, role, READY)),
        starting_ages_seconds=tuple(now - float(asked[replica]) for replica in starting),
        draining=len(fleet.replicas_that_are(state, role, DRAINING)),
    )
