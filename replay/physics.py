"""The numbers that one kind of fleet obeys: what the plant simulates, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from policies.profile import Profile
from policies.types import PerRole


class Router(StrEnum):
    """Who gets the next prompt.

    Round-robin binds it to a prefill replica on arrival. Least-loaded binds it when a replica can
    start it, which makes one central queue. KV-aware binds it on arrival to the replica that has
    the fewest tokens to compute with it, its own prefix hit counted. KV goes to the decode replica
    with the fewest tokens in use, or in turn under round-robin.
    """

    ROUND_ROBIN = "round_robin"
    LEAST_LOADED = "least_loaded"
    KV_AWARE = "kv_aware"


class PrefixCache(StrEnum):
    """Where a cached prefix is found: by every replica (a shared store), or by one of them."""

    SHARED = "shared"
    LOCAL = "local"


class Reservation(StrEnum):
    """What decode promises before a transfer starts.

    Full: space for the prompt and the whole answer, so KV never runs out. Optimistic: space for
    the prompt; an answer takes space as it grows, and when there is none the request that landed
    last gives its space back and is prefilled again with what it had generated.
    """

    FULL = "full"
    OPTIMISTIC = "optimistic"


class ScaleIn(StrEnum):
    """What happens to the work of a replica that is scaled in."""

    DRAIN = "drain"
    KILL = "kill"


class LostWork(StrEnum):
    """What happens to requests whose replica died: sent again to prefill, or lost."""

    RETRY = "retry"
    LOSE = "lose"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillPhysics:
    """One prefill replica.

    An iteration takes base + per_token*n + per_squared_token*((h+n)^2 - h^2) seconds for n new
    tokens of a prompt of which h are done, summed over the prompts in it. `token_budget` bounds
    the new tokens of one iteration; 0 runs one whole prompt at a time. A prompt holds
    `kv_capacity_tokens` from its first iteration until its KV has left.
    """

    base_seconds: float
    seconds_per_token: float
    seconds_per_squared_token: float = 0.0
    token_budget: int = 8192
    kv_capacity_tokens: float
    prefix_cache: PrefixCache = PrefixCache.SHARED


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPhysics:
    """The KV links: each replica has one egress (prefill) or ingress (decode) link.

    A transfer moves at the smaller of its fair shares of the two links it crosses, and lands
    `base_seconds` after its last byte left. At most `transfers_per_replica` enter one decode
    replica at a time.
    """

    base_seconds: float
    bytes_per_token: float
    egress_bytes_per_second: float
    ingress_bytes_per_second: float
    transfers_per_replica: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodePhysics:
    """One decode replica.

    An iteration takes base + per_sequence*B + per_context_token*sum(context) seconds and gives
    every sequence of the batch one token.
    """

    base_seconds: float
    seconds_per_sequence: float
    seconds_per_context_token: float
    kv_capacity_tokens: float
    max_sequences: int = 256
    reservation: Reservation = Reservation.FULL


@dataclass(frozen=True, slots=True)
class StartUp:
    """Time from asking for a replica to its being ready: lognormal, `spread` is sigma of the log.

    Spread 0 is fixed; 0.36 puts the 90th percentile at 1.6 times the median.
    """

    median_seconds: float
    spread: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Physics:
    """Everything the plant needs to know of a fleet."""

    prefill: PrefillPhysics
    transfer: TransferPhysics
    decode: DecodePhysics
    gpus_per_replica: PerRole[int]
    startup_seconds: PerRole[StartUp]
    router: Router = Router.LEAST_LOADED
    scale_in: ScaleIn = ScaleIn.DRAIN
    lost_work: LostWork = LostWork.RETRY

    @classmethod
    def from_profile(
        cls,
        profile: Profile,
        *,
        startup_seconds: PerRole[float],
        router: Router = Router.LEAST_LOADED,
    ) -> Physics:
        """Copy a profile's numbers; what a profile does not say keeps its default.

        A prefill replica is given the KV capacity of a decode replica. KV that is sent while
        prefill still runs (1 - exposed_fraction of it) is left out of the link's load.
        """
        prefill, transfer, decode = profile.prefill, profile.transfer, profile.decode
        return cls(
            prefill=PrefillPhysics(
                base_seconds=prefill.base_seconds,
                seconds_per_token=prefill.seconds_per_token,
                seconds_per_squared_token=prefill.seconds_per_squared_token,
                token_budget=prefill.token_budget,
                kv_capacity_tokens=decode.kv_capacity_tokens,
            ),
            transfer=TransferPhysics(
                base_seconds=transfer.base_seconds,
                bytes_per_token=transfer.bytes_per_token * transfer.exposed_fraction,
                egress_bytes_per_second=transfer.bytes_per_second,
                ingress_bytes_per_second=transfer.bytes_per_second * transfer.ingress_share,
            ),
            decode=DecodePhysics(
                base_seconds=decode.base_seconds,
                seconds_per_sequence=decode.seconds_per_sequence,
                seconds_per_context_token=decode.seconds_per_context_token,
                kv_capacity_tokens=decode.kv_capacity_tokens,
                max_sequences=decode.max_sequences,
            ),
            gpus_per_replica=profile.gpus_per_replica,
            startup_seconds=startup_seconds.map(StartUp),
            router=router,
        )
