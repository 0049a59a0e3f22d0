"""What a pair of pools would deliver, and the pairs beside it: worked out when somebody asks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from policies.calibration import slowed
from policies.capacity import Capacity
from policies.demand import Demand, Load
from policies.lattice import Lattice
from policies.profile import Profile
from policies.types import LoadForecast, Margin, PerRole, Prospect, Role

# A role is ample beside another with this many times its replicas.
_AMPLE = 100
_LEAST_UTILISATION = 1e-3
_IDLE = 1e-9  # a pool less busy than this is needed for nothing


@dataclass(frozen=True)
class Foresight:
    """Predictions for any pair, by what was known when one decision was made.

    `planned` is what the pair was solved with: the quantile of the coming demand to be ready for,
    with the work that waits, on replicas one standard deviation slower than believed. What is
    `likely` and what is `now` come without what waits, on replicas that are believed to take
    `slowness` times as long as the profile says. `load` is the one seen.
    """

    planned: Capacity
    profile: Profile
    slowness: PerRole[float]
    load: Load
    forecasts: tuple[LoadForecast, ...] = ()

    @classmethod
    def steady(cls, capacity: Capacity) -> Foresight:
        """Foresight of a load that is given and does not change."""
        return cls(capacity, capacity.profile, PerRole(1.0, 1.0), capacity.demand.load)

    @cached_property
    def now(self) -> Capacity:
        """Under the load seen. From here to `planned` is the range that the decision is sure of."""
        return self._under(self.load)

    @cached_property
    def likely(self) -> Capacity:
        """Under the centre of the forecast; a load that has none yet is to stay as it is."""
        centre = {
            told.load: told.centre
            for told in self.forecasts
            if told.centre is not None and math.isfinite(told.centre)
        }
        return self._under(replace(self.load, **centre))

    def _under(self, load: Load) -> Capacity:
        demand = replace(
            self.planned.demand,
            load=load.slowed(self.slowness.prefill),
            extra_transfers_per_second=0.0,
        )
        return Capacity(slowed(self.profile, self.slowness), self.planned.settings, demand)

    @cached_property
    def _known(self) -> dict[PerRole[int], Prospect]:
        return {}

    def __call__(self, replicas: PerRole[int]) -> Prospect:
        """Predict for a pair and its neighbours; some milliseconds the first time."""
        if replicas not in self._known:
            self._known[replicas] = self._prospect(replicas)
        return self._known[replicas]

    def _prospect(self, replicas: PerRole[int]) -> Prospect:
        lattice = Lattice(self.planned)
        tolerated = not lattice.meets(replicas) and lattice.tolerates(replicas)
        return Prospect(
            replicas=replicas,
            now=self.now.expect(replicas),
            likely=self.likely.expect(replicas),
            planned=self.planned.expect(replicas),
            sufficient=tolerated or lattice.meets(replicas),
            tolerated=tolerated,
            margins=PerRole.of(lambda role: _margin(lattice, role, replicas)),
            needed_replicas=PerRole.of(lambda role: _needed(lattice, role, replicas[role])),
        )


def _sufficient(lattice: Lattice, pair: PerRole[int]) -> bool:
    return lattice.meets(pair) or lattice.tolerates(pair)


def _margin(lattice: Lattice, role: Role, pair: PerRole[int]) -> Margin:
    capacity, count = lattice.capacity, pair[role]
    fewer = pair.but(role, count - 1)
    allowed = count > lattice.low[role] and lattice.ratio.allows(fewer)
    spare = allowed and (lattice.meets(fewer) or not _sufficient(lattice, pair))
    return Margin(
        gpus=lattice.cost[role],
        more=capacity.expect(pair.but(role, count + 1)),
        fewer=capacity.expect(fewer) if count > 1 else None,
        binding=None if spare else lattice.binding_of(role, pair),
    )


def _needed(lattice: Lattice, role: Role, replicas: int) -> float:
    """Replicas of a role that the demand calls for, not rounded; infinite when no number helps.

    n / s, where the demand could grow s times before n replicas of this role, beside plenty of the
    other, would miss the objective: work over the utilisation that a pool of this size may be run
    at, as in A_P/rho_P and N_D/B_eff of the usual ratio of pools, with every wait, KV memory and
    the link in it. Example: 5 replicas that could carry 1.22 times the demand: 4.1 are needed.
    """
    capacity = lattice.capacity
    pair = PerRole.of(lambda each: replicas if each is role else replicas * _AMPLE)
    own = capacity.prefill_erlangs / replicas
    if role is Role.DECODE:
        own = capacity.decode_utilisation(replicas)
    utilisation = max(own, capacity.link_utilisation(pair))
    if utilisation < _IDLE:
        return 0.0

    def carries(at: float) -> bool:
        demand = _times(capacity.demand, at / utilisation)
        return Lattice(replace(capacity, demand=demand)).meets(pair)

    low, high = 0.0, 1.0
    if utilisation < 1.0:
        low, high = (utilisation, 1.0) if carries(utilisation) else (0.0, utilisation)
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if carries(middle) else (low, middle)
        if high < _LEAST_UTILISATION:
            return math.inf
    return replicas * utilisation / low


def _times(demand: Demand, factor: float) -> Demand:
    """As many times the requests, of the same shape."""
    return replace(
        demand,
        load=demand.load.times(factor),
        extra_transfers_per_second=demand.extra_transfers_per_second * factor,
    )
