"""What the plant tells: outcomes of requests as columns, and the fleet at one instant."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.types import PerRole

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstTokens:
    """Requests whose first token reached the user; columns of equal length."""

    arrival_seconds: Floats
    ttft_seconds: Floats
    input_tokens: Floats

    def __len__(self) -> int:
        return len(self.arrival_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Requests that ended well; columns of equal length, in order of their end.

    `itl_seconds` is the mean over the request, (last - first token) / (output - 1); 0.0 where
    there was only one token.
    """

    arrival_seconds: Floats
    finished_seconds: Floats
    ttft_seconds: Floats
    itl_seconds: Floats
    input_tokens: Floats
    output_tokens: Floats

    def __len__(self) -> int:
        return len(self.arrival_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCounts:
    """The replicas of one role; `desired` is what was last asked for."""

    desired: int
    ready: int
    starting_ages_seconds: tuple[float, ...] = ()
    draining: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The fleet at one instant.

    Every request that has arrived is in exactly one of finished, lost, waiting or running. Lost
    are those that died with a replica and those that no replica could ever have held.
    Waiting for decode are all requests that prefill is done with and no batch has yet: those
    without decode space (`transfers_waiting`), those on the links (`transfers_running`) and those
    that have landed. KV usage is the share of ready decode replicas' memory that is
    promised (with optimistic reservation: in use).
    `link_utilisation` is the mean since the last `advance` began, of egress (prefill) and ingress
    (decode). `gpu_seconds` counts each replica from when it was asked for until it was gone.
    """

    now_seconds: float
    arrived_requests: int
    finished_requests: int
    lost_requests: int
    preemptions: int
    waiting_requests: PerRole[int]
    running_requests: PerRole[int]
    kv_usage_fraction: float
    kv_usage_max_fraction: float
    transfers_waiting: int
    transfers_running: int
    transfer_backlog_tokens: float
    link_utilisation: PerRole[float]
    replicas: PerRole[ReplicaCounts]
    gpu_seconds: PerRole[float]
