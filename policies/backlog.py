"""What waits, why it waits, and the extra work of clearing it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from policies.config import PolicySettings
from policies.demand import Demand
from policies.profile import Profile
from policies.types import Observation, PerRole, PoolState

# A batch is full when this share of its places is taken: some are between two requests.
_FULL = 0.9


class Congestion(StrEnum):
    """What holds requests up behind prefill."""

    NONE = "none"
    DECODE_SPACE = "decode_space"
    KV_LINK = "kv_link"


@dataclass(frozen=True, slots=True)
class Backlog:
    """Requests that wait beyond the normal, by the role that must work them off."""

    requests: PerRole[float]
    congestion: Congestion

    @property
    def calm(self) -> bool:
        """Whether nothing waits beyond the normal."""
        return not any(self.requests)

    @property
    def note(self) -> str | None:
        """The diagnosis in words, for the decision; None when nothing is held up."""
        if self.congestion is Congestion.DECODE_SPACE:
            return (
                f"{self.requests.decode:.0f} requests wait for decode space: "
                "decode is the bottleneck, prefill's queue is its symptom"
            )
        if self.congestion is Congestion.KV_LINK:
            return (
                f"{self.requests.decode:.0f} KV transfers wait while decode has room: "
                "the link is the bottleneck"
            )
        return None


def normal_queue(observation: Observation, settings: PolicySettings) -> float:
    """Requests that may wait without being late: those that arrive in half the TTFT objective.

    Where the objective grows with the prompt, that of a prompt of mean length.
    """
    tokens = observation.input_tokens.mean if observation.input_tokens else 0.0
    allowed_seconds = settings.slo.ttft_objective_seconds(tokens)
    return (observation.requests_per_second or 0.0) * allowed_seconds / 2


def diagnose(
    observation: Observation, settings: PolicySettings, slots: float | None = None
) -> Backlog:
    """Tell a queue in front of prefill from one behind it.

    Only what is beyond the normal queue counts. A KV backlog with decode memory full, or with
    sequences in all of decode's `slots`, needs decode; one with room at decode is the link's. The
    fullest replica tells: one that has just become ready is empty, and the others are full still.
    Where the use of memory is unknown, requests that wait at decode are taken to lack room, though
    some stacks count a transfer under way among them. Either way KV that cannot leave pins prefill
    memory, so prefill's own queue is a symptom then, and more prefill would only lengthen it.
    """
    normal = normal_queue(observation, settings)
    waiting = observation.waiting_requests.map(lambda count: count or 0.0)
    # Most stacks count a request whose KV is under way in both: the larger, never the sum.
    behind = max(waiting.decode, observation.kv_transfer_backlog_requests or 0.0)
    held_up = max(behind - normal, 0.0)
    if held_up == 0.0:
        return Backlog(PerRole(max(waiting.prefill - normal, 0.0), 0.0), Congestion.NONE)
    full = 1.0 - settings.kv_headroom_fraction
    usage = _usage(observation)
    running = observation.running_requests.decode
    crowded = slots is not None and running is not None and running >= _FULL * slots
    starved = usage is None or usage >= full or crowded
    congestion = Congestion.DECODE_SPACE if starved else Congestion.KV_LINK
    return Backlog(PerRole(0.0, held_up), congestion)


def _usage(observation: Observation) -> float | None:
    """KV memory in use on the fullest replica, else on all of them."""
    mean, most = observation.kv_usage_fraction, observation.kv_usage_max_fraction
    return mean if mean is None or most is None else max(mean, most)


def left_when_ready(
    waiting: float,
    arrivals_per_second: float,
    served_per_replica: float,
    pool: PoolState,
    lead_seconds: float,
    age_seconds: float = 0.0,
) -> float:
    """Requests of a queue that will wait still when a replica asked for now can help.

    From when it was read, `age_seconds` ago, until then it grows by what arrives and falls by what
    ready replicas serve, and starting ones from the moment they are ready. Example: 300 wait, 70
    arrive per second, 5 replicas serve 8 per second each, and 4 more will in half of the 120 s that
    a start takes: 300 + 8400 - 6720 = 1980.
    """
    passing_seconds = age_seconds + lead_seconds
    serving = passing_seconds * pool.ready_replicas
    serving += sum(min(age, lead_seconds) for age in pool.starting_ages_seconds)
    left = waiting + arrivals_per_second * passing_seconds - served_per_replica * serving
    return max(left, 0.0)


def drained(demand: Demand, backlog: Backlog, profile: Profile, drain_seconds: float) -> Demand:
    """Add the work that clears a backlog within `drain_seconds`.

    What prefill releases arrives at decode, so a prefill backlog is decode load as well. What
    waits for the link is transfer work alone.
    """
    shape, per_second = demand.shape, backlog.requests.map(lambda count: count / drain_seconds)
    if backlog.congestion is Congestion.KV_LINK:
        return replace(demand, extra_transfers_per_second=per_second.decode)
    at_prefill = shape.load_of(profile, per_second.prefill)
    at_decode = shape.load_of(profile, sum(per_second))
    extra = replace(at_decode, prefill_erlangs=at_prefill.prefill_erlangs)
    return replace(demand, load=demand.load.plus(extra))
