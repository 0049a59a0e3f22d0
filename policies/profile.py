"""What one replica of each role sustains: the numbers, read from a JSON profile."""

from __future__ import annotations

from importlib import resources
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from policies.types import PerRole

Tokens = TypeVar("Tokens", float, NDArray[np.float64])


class _Law(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PrefillLaw(_Law):
    """Time to prefill n uncached tokens: base + per_token*n + per_squared_token*n^2 seconds.

    One iteration takes prompts, and the last of them in part, up to `token_budget` tokens.
    """

    base_seconds: NonNegativeFloat
    seconds_per_token: PositiveFloat
    seconds_per_squared_token: NonNegativeFloat = 0.0
    token_budget: PositiveInt = 8192

    def seconds(self, uncached_tokens: Tokens, cached_tokens: Tokens) -> Tokens:
        """Time of a + b*u + q*(u^2 + 2*h*u) for u uncached and h cached tokens.

        The last term is attention of the new tokens over the cached prefix.
        """
        pairs = uncached_tokens * (uncached_tokens + 2 * cached_tokens)
        linear = self.base_seconds + self.seconds_per_token * uncached_tokens
        return linear + self.seconds_per_squared_token * pairs

    def by_prompt_tokens(self, cached_fraction: float) -> tuple[float, float, float]:
        """The same as c0 + c1*n + c2*n^2 for prompts of n tokens, that share of them cached.

        With h cached, u = (1 - h) n and u*(u + 2*h*n) = (1 - h^2) n^2.
        """
        return (
            self.base_seconds,
            self.seconds_per_token * (1.0 - cached_fraction),
            self.seconds_per_squared_token * (1.0 - cached_fraction**2),
        )

    def scaled(self, factor: float) -> PrefillLaw:
        """The law of replicas that take `factor` times as long."""
        return PrefillLaw(
            base_seconds=self.base_seconds * factor,
            seconds_per_token=self.seconds_per_token * factor,
            seconds_per_squared_token=self.seconds_per_squared_token * factor,
            token_budget=self.token_budget,
        )


class TransferLaw(_Law):
    """KV hand-off of n tokens: base + exposed*n*bytes_per_token/bandwidth seconds.

    The bandwidth is one replica's: out of prefill, and into decode too, unless decode has a card of
    another speed, `ingress_bytes_per_second`. A link is shared by the transfers on it.
    """

    base_seconds: NonNegativeFloat
    bytes_per_token: PositiveFloat
    bytes_per_second: PositiveFloat
    ingress_bytes_per_second: PositiveFloat | None = None
    exposed_fraction: float = Field(default=1.0, ge=0.0, le=1.0)

    @property
    def ingress_share(self) -> float:
        """What a decode replica can take in, over what a prefill replica can send."""
        ingress = self.ingress_bytes_per_second
        return 1.0 if ingress is None else ingress / self.bytes_per_second


class DecodeLaw(_Law):
    """One iteration of batch B at mean context c: base + per_sequence*B + per_token*B*c seconds."""

    base_seconds: PositiveFloat
    seconds_per_sequence: NonNegativeFloat
    seconds_per_context_token: NonNegativeFloat
    kv_capacity_tokens: PositiveInt
    max_sequences: PositiveInt = 256

    def scaled(self, factor: float) -> DecodeLaw:
        """The law of replicas that take `factor` times as long, with the same memory."""
        return DecodeLaw(
            base_seconds=self.base_seconds * factor,
            seconds_per_sequence=self.seconds_per_sequence * factor,
            seconds_per_context_token=self.seconds_per_context_token * factor,
            kv_capacity_tokens=self.kv_capacity_tokens,
            max_sequences=self.max_sequences,
        )


class Profile(_Law):
    """One model on one kind of accelerator: the laws of a replica and what a replica costs."""

    name: str
    source: str = Field(description="where the numbers come from, so that they can be doubted")
    prefill_gpus_per_replica: PositiveInt
    decode_gpus_per_replica: PositiveInt
    prefill: PrefillLaw
    transfer: TransferLaw
    decode: DecodeLaw

    @property
    def gpus_per_replica(self) -> PerRole[int]:
        """GPUs of one replica, per role."""
        return PerRole(self.prefill_gpus_per_replica, self.decode_gpus_per_replica)


def with_wide_links(profile: Profile) -> Profile:
    """The same replicas on links that a hand-off does not wait for."""
    wide = profile.transfer.model_copy(
        update={"bytes_per_second": 1e18, "ingress_bytes_per_second": None}
    )
    return profile.model_copy(update={"transfer": wide})


def builtin_names() -> list[str]:
    """List the profiles that ship with the planner."""
    folder = resources.files("policies.profiles")
    return sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith("json"))


def builtin(name: str) -> Profile:
    """Load a profile that ships with the planner; KeyError names the ones there are."""
    file = resources.files("policies.profiles") / f"{name}.json"
    if not file.is_file():
        raise KeyError(f"no built-in profile {name!r}; there are: {', '.join(builtin_names())}")
    return Profile.model_validate_json(file.read_text())
