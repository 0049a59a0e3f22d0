"""The pairs of pools that there may be, judged under one demand, and the cheapest that will do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from policies.capacity import Capacity, DecodeState
from policies.profile import with_wide_links
from policies.queueing import Wait
from policies.ratio import RatioRange
from policies.types import Binding, PerRole, Role

# Times what keeps up with the load: what that cannot do, no number of replicas is asked to.
PLENTY = 3
# Times the misses allowed: beyond it, a pair in place is not kept however little it is short of.
_TOLERATED_MISSES = 5
# What a move of replicas between the sides must gain, in flow or attainment.
_WORTH_A_MOVE = 0.05
# Of attainment or flow: replicas of one role that gain no more, all together, are idle.
_NO_GAIN = 0.002
# Utilisation of a KV link below which it is not looked at as what binds.
_BUSY_LINK = 0.3


def least_that(meets: Callable[[int], bool], low: int, high: int, near: int) -> int | None:
    """The least count from `low` to `high` that meets a bar which all larger ones meet as well.

    Steps of twice the length each lead away from `near`, then the last one is bisected: a count
    close to the one sought costs a few evaluations, whatever the range.
    """
    if low > high:
        return None
    near, step = min(max(near, low), high), 1
    if meets(near):
        high = near
        while low < high and meets(max(high - step, low)):
            high, step = max(high - step, low), 2 * step
        low = max(low, high - step + 1)
    else:
        low = near + 1
        while low <= high and not meets(min(low - 1 + step, high)):
            low, step = min(low - 1 + step, high) + 1, 2 * step
        if low > high:
            return None
        high = min(low - 1 + step, high)
    while low < high:
        middle = (low + high) // 2
        if meets(middle):
            high = middle
        else:
            low = middle + 1
    return high


class Lattice:
    """All pairs within bounds and budget, judged under one demand."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self.cost = capacity.profile.gpus_per_replica
        prefill, decode = capacity.settings.prefill, capacity.settings.decode
        self.low = PerRole(prefill.min_replicas, decode.min_replicas)
        self.high = PerRole(prefill.max_replicas, decode.max_replicas)
        self.budget = capacity.settings.gpu_budget or math.inf
        # A range that no pair within bounds and budget is in is set aside, and told as missing.
        ratio = capacity.settings.ratio
        least = ratio.least_above(self.low, self.high)
        within = least is not None and self.gpus(least) <= self.budget
        self.ratio = ratio if within else RatioRange()
        self._waits: dict[int, Wait] = {}
        self._decodes: dict[int, DecodeState] = {}
        self._attained: dict[PerRole[int], PerRole[float]] = {}

    @cached_property
    def required(self) -> float:
        """Joint attainment to plan for.

        Normally the objective. When some prompts are too long to meet it even with replicas in
        plenty, the others must make up for them, but never by more than halving the misses
        allowed, so that an infeasible objective cannot become an unbounded ask. Example: objective
        0.95, 2% of prompts infeasible: plan 0.95; 20% infeasible: plan 0.8 * 0.975.

        Plenty is a few times what keeps up, not infinity: a prompt that meets the objective only
        when it never waits for anything would ask for any number of replicas. What less than plenty
        was seen to attain, plenty attains as well and need not be judged.
        """
        share = self.capacity.settings.slo.attainment_fraction
        least = self.capacity.least
        plenty = least.map(lambda replicas: PLENTY * math.ceil(replicas) + 2)
        enough = 2.0 * share / (1.0 + share)
        for pair, attained in self._attained.items():
            within = pair.prefill <= plenty.prefill and pair.decode <= plenty.decode
            if within and attained.prefill * attained.decode >= enough:
                return share
        ttft, itl = self.attainments(plenty)
        return min(share, (ttft * itl or 1.0) * (1.0 + share) / 2.0)

    @property
    def attainable(self) -> bool:
        """Whether enough replicas would meet the objective at all."""
        ceiling = self.capacity.attainable
        return ceiling.prefill * ceiling.decode >= self.capacity.settings.slo.attainment_fraction

    @property
    def eased(self) -> bool:
        """Whether less than the objective is planned for."""
        return self.required < self.capacity.settings.slo.attainment_fraction

    def gpus(self, pair: PerRole[int]) -> int:
        """What a pair costs."""
        return pair.prefill * self.cost.prefill + pair.decode * self.cost.decode

    def attainments(self, pair: PerRole[int]) -> PerRole[float]:
        """TTFT and ITL attainment to plan with: an objective out of reach is not held against."""
        known = self._attained.get(pair)
        if known is None:
            known = PerRole(self._ttft_attainment(pair), self._itl(pair.decode))
            self._attained[pair] = known
        return known

    def _ttft_attainment(self, pair: PerRole[int]) -> float:
        capacity, wait = self.capacity, self._waits.get(pair.prefill)
        if wait is None:
            wait = self._waits[pair.prefill] = capacity.prefill.wait(pair.prefill)
        # Where no prompt can meet the objective, waits rather than service are held to it.
        relief = 0.0 if capacity.attainable.prefill else capacity.unqueued_seconds_max
        return capacity.ttft_attainment(pair, wait, self._decode(pair.decode), relief)

    def _itl(self, replicas: int) -> float:
        state = self._decode(replicas)
        if self.capacity.attainable.decode:
            return state.itl_attainment
        return 1.0 if state.itl_mean_seconds < math.inf else 0.0

    def _decode(self, replicas: int) -> DecodeState:
        state = self._decodes.get(replicas)
        if state is None:
            state = self._decodes[replicas] = self.capacity.decode(replicas)
        return state

    def meets(self, pair: PerRole[int]) -> bool:
        """Whether a pair meets the objective.

        The first pair judged mostly tells what is required. After that, where too many miss ITL
        alone, TTFT need not be looked at.
        """
        if self._attained and self._itl(pair.decode) < self.required - 1e-12:
            return False
        attained = self.attainments(pair)
        return attained.prefill * attained.decode >= self.required - 1e-12

    def tolerates(self, pair: PerRole[int]) -> bool:
        """Whether a pair within bounds would do for nearly all of the demand, and misses few of it.

        Between that and the demand planned for lie all those that differ by chance alone: a pool
        that follows them goes up and down. The demand planned for is an upper quantile, on replicas
        slower than believed, so that a pair that does for most of it rarely misses more.
        """
        ttft, itl = self.attainments(pair)
        few = 1.0 - ttft * itl <= _TOLERATED_MISSES * (1.0 - self.required)
        if not few or any(pair[role] < self.low[role] for role in Role):
            return False
        if not self.ratio.allows(pair):
            return False
        demand, share = (
            self.capacity.demand,
            self.capacity.settings.guards.tolerated_demand_fraction,
        )
        nearly = replace(demand, load=demand.load.times(1.0 - share))
        return Lattice(replace(self.capacity, demand=nearly)).meets(pair)

    def cheapest(
        self, known: PerRole[int] | None = None, near: PerRole[int] | None = None
    ) -> PerRole[int] | None:
        """The cheapest pair that meets the objective; on equal cost, the one with more to spare.

        Of equals it is the one `known`, which has to meet it. The search begins `near` where the
        answer is guessed to be, else at the known pair: what costs more than either, if that meets
        the objective, need not be looked at. No pair has less of a role than what meets it beside
        all there may be of the other.
        """
        best, met, most_gpus = None, None, self.budget
        if near and self._within_bounds(near) and self.meets(near):
            met, most_gpus = near, self.gpus(near)
        dear = known is None or self.gpus(known) > most_gpus
        if known and not dear and self._within_bounds(known) and self.meets(known):
            best, met, most_gpus = known, known, self.gpus(known)
        least = self._least_of_each(near or known or self.low, met)
        if least is None:
            return None
        if self.ratio.limits:
            return self._cheapest_in_range(best, least, most_gpus)
        most = self.high.decode
        for prefill in range(least.prefill, self.high.prefill + 1):
            most = min(most, self._most_decode(prefill, most_gpus))
            if most < least.decode:
                break
            decode = least_that(self._meets_with(Role.DECODE, prefill), least.decode, most, most)
            if decode is None:
                most = self.high.decode
                continue
            most, pair = decode, PerRole(prefill, decode)
            if best is None or self._better(pair, best):
                best, most_gpus = pair, self.gpus(pair)
        return best

    def _cheapest_in_range(
        self, best: PerRole[int] | None, least: PerRole[int], most_gpus: float
    ) -> PerRole[int] | None:
        """The same where a ratio is asked for.

        More prefill may then ask for more decode than the objective does, so that what did beside
        fewer prefill replicas says nothing of how many may be needed.
        """
        for prefill in range(least.prefill, self.high.prefill + 1):
            affordable = self._most_decode(prefill, most_gpus)
            if affordable < least.decode:
                break
            low = max(least.decode, self.ratio.least_decode(prefill))
            high = int(min(affordable, self.ratio.most_decode(prefill)))
            decode = least_that(self._meets_with(Role.DECODE, prefill), low, high, low)
            if decode is None:
                continue
            pair = PerRole(prefill, decode)
            if best is None or self._better(pair, best):
                best, most_gpus = pair, self.gpus(pair)
        return best

    def _least_of_each(self, near: PerRole[int], met: PerRole[int] | None) -> PerRole[int] | None:
        """The least of each role that meets the objective beside all there may be of the other.

        The search begins `near`. No less than what has `met` the objective need not be judged.
        """
        # With no more than what just keeps up, queues grow without end, whatever the other does.
        low = PerRole.of(lambda role: max(self.low[role], int(self.capacity.least[role]) + 1))
        high = self.high
        prefill, decode = (
            least_that(
                self._meets_with(role, beside, met[role] if met else math.inf),
                low[role],
                high[role],
                near[role],
            )
            for role, beside in ((Role.PREFILL, high.decode), (Role.DECODE, high.prefill))
        )
        return None if prefill is None or decode is None else PerRole(prefill, decode)

    def _meets_with(
        self, role: Role, beside: int, enough: float = math.inf
    ) -> Callable[[int], bool]:
        """Whether so many of a role meet the objective beside a count of the other.

        `enough` are known to.
        """
        pair = PerRole(beside, beside)
        return lambda count: count >= enough or self.meets(pair.but(role, count))

    def _better(self, pair: PerRole[int], other: PerRole[int]) -> bool:
        if self.gpus(pair) != self.gpus(other):
            return self.gpus(pair) < self.gpus(other)
        return self._attainment_then_thrift(pair) > self._attainment_then_thrift(other)

    def best_within_bounds(self) -> PerRole[int]:
        """The pair of highest attainment, else of highest flow, when none meets the objective.

        More replicas never hurt, so only the largest decode count for each prefill count matters;
        and a pair that cannot carry the flow attains nothing for long.
        """
        candidates = []
        for prefill in range(self.low.prefill, self.high.prefill + 1):
            decode = self._most_decode(prefill, self.budget)
            if decode < self.low.decode:
                break
            decode = int(min(decode, self.ratio.most_decode(prefill)))
            if decode >= max(self.low.decode, self.ratio.least_decode(prefill)):
                candidates.append(PerRole(prefill, decode))
        if (
            not candidates
        ):  # the minimum alone breaks budget or ratio: the minimum wins, and is told
            return self.low
        carrying = [pair for pair in candidates if self.capacity.flow(pair) >= 1.0]
        if not carrying:
            return max(candidates, key=self.capacity.flow)
        return max(carrying, key=self._attainment_then_thrift)

    def best_beside(self, in_place: PerRole[int] | None) -> PerRole[int]:
        """The same, or the pair in place where a move of replicas would gain too little."""
        pair = self.best_within_bounds()
        return in_place if in_place and not self.worth_moving(in_place, pair) else pair

    def without_idle(self, pair: PerRole[int]) -> PerRole[int]:
        """Give back what gains nothing because the other role has all there may be of it.

        Example: 5 prefill replicas at most, where 6 would do, have 62.7% of requests in time beside
        3 decode replicas, 62.9% beside 5, and 63.1% beside 64.
        """
        flow, (ttft, itl) = self.capacity.flow(pair), self.attainments(pair)

        def as_good(count: int) -> bool:
            fewer = pair.but(role, count)
            if not self.ratio.allows(fewer):
                return False
            now = (self.capacity.flow(fewer), *self.attainments(fewer))
            return all(a >= b - _NO_GAIN for a, b in zip(now, (flow, ttft, itl), strict=True))

        for role, other in ((Role.DECODE, Role.PREFILL), (Role.PREFILL, Role.DECODE)):
            if pair[other] >= self.high[other]:
                least = least_that(as_good, min(self.low[role], pair[role]), pair[role], pair[role])
                pair = pair.but(role, least or pair[role])
        return pair

    def _within_bounds(self, pair: PerRole[int]) -> bool:
        low, high = self.low, self.high
        return (
            low.prefill <= pair.prefill <= high.prefill
            and low.decode <= pair.decode <= high.decode
            and self.gpus(pair) <= self.budget
            and self.ratio.allows(pair)
        )

    def worth_moving(self, pair: PerRole[int], other: PerRole[int]) -> bool:
        """Whether a pair is so much better that replicas may be taken from one side for the other.

        The replica that moves serves nobody while it starts: a ninth of the fleet for two of the
        next five minutes is 5%.
        """
        if not self._within_bounds(pair) or all(pair[role] <= other[role] for role in Role):
            return True
        flow, better = self.capacity.flow(pair), self.capacity.flow(other)
        if min(flow, better) < 1.0:
            return better > flow + _WORTH_A_MOVE
        attained, attainable = (
            self._attainment_then_thrift(pair),
            self._attainment_then_thrift(other),
        )
        return attainable[0] > attained[0] + _WORTH_A_MOVE

    def _attainment_then_thrift(self, pair: PerRole[int]) -> tuple[float, int]:
        ttft, itl = self.attainments(pair)
        return (round(ttft * itl, 6), -self.gpus(pair))

    def _most_decode(self, prefill: int, gpus: float) -> int:
        """Most decode replicas beside `prefill` ones within a number of GPUs."""
        left = gpus - prefill * self.cost.prefill
        return (
            self.high.decode
            if left == math.inf
            else min(self.high.decode, int(left // self.cost.decode))
        )

    def binding(self, pair: PerRole[int], *, feasible: bool) -> tuple[Binding, ...]:
        """What would break with one replica less on each side."""
        found = [] if self.attainable else [Binding.INFEASIBLE_SLO]
        if not feasible:
            found.append(self._scarce(pair))
            return tuple(found)
        found += [self.binding_of(role, pair) for role in Role]
        return tuple(dict.fromkeys(found))

    def _scarce(self, pair: PerRole[int]) -> Binding:
        if self.ratio.limits:
            settings = self.capacity.settings.model_copy(update={"ratio": RatioRange()})
            if Lattice(replace(self.capacity, settings=settings)).cheapest():
                return Binding.RATIO
        return Binding.BUDGET if self._over_budget_one_up(pair) else Binding.MAXIMUM

    def _over_budget_one_up(self, pair: PerRole[int]) -> bool:
        return self.gpus(pair) + min(self.cost) > self.budget

    def binding_of(self, role: Role, pair: PerRole[int]) -> Binding:
        """What would break with one replica less of a role."""
        if pair[role] <= self.low[role]:
            return Binding.MINIMUM
        fewer = pair.but(role, pair[role] - 1)
        if not self.ratio.allows(fewer) and self.meets(fewer):
            return Binding.RATIO
        if self._link_binds(pair, fewer):
            return Binding.KV_LINK
        if role is Role.PREFILL:
            return Binding.TTFT
        lost = self.attainments(pair).zip(self.attainments(fewer)).map(lambda ab: ab[0] - ab[1])
        if lost.decode >= lost.prefill:
            return Binding.ITL
        return Binding.KV_MEMORY if self.capacity.batch_limit_is_memory else Binding.MAX_SEQUENCES

    def _link_binds(self, pair: PerRole[int], fewer: PerRole[int]) -> bool:
        """Whether fewer replicas have a busier link, and would do were it as wide as any."""
        busy = self.capacity.link_utilisation(fewer)
        if busy < _BUSY_LINK or busy <= self.capacity.link_utilisation(pair):
            return False
        wide = Lattice(replace(self.capacity, profile=with_wide_links(self.capacity.profile)))
        ttft, itl = wide.attainments(fewer)
        return ttft * itl >= self.required
