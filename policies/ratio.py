"""Which sizes of the two pools may stand beside each other."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from policies.types import PerRole

LEAST_RATIO, MOST_RATIO = 1e-3, 1e3  # beyond these no fleet is meant
_Ratio = Annotated[float, Field(ge=LEAST_RATIO, le=MOST_RATIO, allow_inf_nan=False)]
_EXACT = 1e-9  # 3 / 0.3 is a hair more than 10 in floating point, and asks for no 11th replica


class RatioRange(BaseModel):
    """Bounds on prefill replicas per decode replica; each is a gang where gangs are scaled.

    Of two pairs within the range, the larger counts of each role are within it as well, and so are
    the smaller ones: what only takes the larger or the smaller of such pairs need not look at it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_prefill_per_decode: _Ratio | None = Field(
        default=None,
        description="at least so many prefill replicas for each decode replica; unset: no limit",
    )
    max_prefill_per_decode: _Ratio | None = Field(
        default=None,
        description="at most so many prefill replicas for each decode replica; unset: no limit",
    )

    @model_validator(mode="after")
    def _ordered(self) -> RatioRange:
        low, high = self.min_prefill_per_decode, self.max_prefill_per_decode
        if low is not None and high is not None and low > high:
            raise ValueError(
                f"min_prefill_per_decode {low:g} is above max_prefill_per_decode {high:g}"
            )
        return self

    def __str__(self) -> str:
        """Read as the end of a sentence."""
        low, high = self.min_prefill_per_decode, self.max_prefill_per_decode
        ends = [f"{low:g} or more" if low else "", f"no more than {high:g}" if high else ""]
        return " and ".join(end for end in ends if end) + " prefill replicas per decode replica"

    @property
    def limits(self) -> bool:
        """Whether there is any limit."""
        return self.min_prefill_per_decode is not None or self.max_prefill_per_decode is not None

    def least_decode(self, prefill: int) -> int:
        """Fewest decode replicas allowed beside a number of prefill replicas."""
        high = self.max_prefill_per_decode
        return 0 if high is None else math.ceil(prefill / high - _EXACT)

    def most_decode(self, prefill: int) -> float:
        """Most decode replicas allowed beside a number of prefill replicas; maybe infinite."""
        low = self.min_prefill_per_decode
        return math.inf if low is None else math.floor(prefill / low + _EXACT)

    def allows(self, pair: PerRole[int]) -> bool:
        """Whether a pair is within the range."""
        if not self.limits:
            return True
        return self.least_decode(pair.prefill) <= pair.decode <= self.most_decode(pair.prefill)

    def least_above(self, low: PerRole[int], high: PerRole[int]) -> PerRole[int] | None:
        """The least pair within the range that is no less than `low`; None beyond `high`."""
        while not self.allows(low):
            low = self.repaired(low)
            if low.prefill > high.prefill or low.decode > high.decode:
                return None
        return low

    def repaired(self, pair: PerRole[int]) -> PerRole[int]:
        """The pair, with so much more of the role that lacks that it is within the range.

        Example: 9 prefill beside 2 decode where 4 to one are allowed: 3 decode.
        """
        low = self.min_prefill_per_decode
        decode = max(pair.decode, self.least_decode(pair.prefill))
        least = 0 if low is None else math.ceil(decode * low - _EXACT)
        return PerRole(max(pair.prefill, least), decode)
