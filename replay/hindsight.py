"""What can only be known afterwards: the true demand, and the cheapest path through it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from policies.capacity import Capacity
from policies.demand import Demand
from policies.horizon import Path, cheapest_path
from policies.types import PerRole, Role
from replay.baselines.replica import Replica
from replay.requests import Floats
from replay.scene import Scene
from replay.sizing import Offered, offered

_LONGEST_IN_MINUTES_SECONDS = 12 * 3600.0
_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Hindsight:
    """The true demand of a scene in slots, and what each pair would miss of it.

    `burst_seconds` divides a slot; None takes no notice of what is quicker than slots.
    """

    scene: Scene
    burst_seconds: float | None = None

    @cached_property
    def demand(self) -> Offered:
        """Demand in slots of a minute, or of five for a long trace."""
        demand = offered(self.scene.trace, self.scene.truth, self.scene.settings)
        if len(demand) * demand.window_seconds <= _LONGEST_IN_MINUTES_SECONDS:
            return demand
        return offered(
            self.scene.trace, self.scene.truth, self.scene.settings, window_seconds=300.0
        )

    @cached_property
    def startup_seconds(self) -> PerRole[float]:
        """Start-up of each role as the fleet has it, the median."""
        return self.scene.physics.startup_seconds.map(lambda startup: startup.median_seconds)

    @cached_property
    def _most(self) -> PerRole[int]:
        load, replica = self.demand.peak_demand().load, self._replica
        needed = PerRole(
            float(self.burst_erlangs.max()),
            max(
                load.decode_tokens_per_second / replica.tokens_per_second_within_slo,
                self._busiest_link,
            ),
        )
        roles, initial = self.scene.settings.roles, self.scene.initial

        def most(role: Role) -> int:
            ample = math.ceil(needed[role] * 1.6) + 4
            return max(min(ample, roles[role].max_replicas), initial[role])

        return PerRole.of(most)

    @cached_property
    def _busiest_link(self) -> float:
        """Ingress links that the KV of the heaviest burst would fill."""
        law, replica = self.scene.truth.transfer, self._replica
        prompts_per_second = float(self.burst_erlangs.max()) / replica.prompt_seconds
        bytes_per_prompt = replica.input_tokens * law.bytes_per_token
        return prompts_per_second * bytes_per_prompt / (law.bytes_per_second * law.ingress_share)

    @cached_property
    def _replica(self) -> Replica:
        demand = self.demand.peak_demand()
        return Replica.under(self.scene.truth, self.scene.settings.slo, demand.shape)

    @cached_property
    def _held(self) -> Floats:
        """GPU-seconds of each pair in one slot; infinite outside limits and budget."""
        settings, cost = self.scene.settings, self.scene.truth.gpus_per_replica
        prefill, decode = (np.arange(most + 1) for most in self._most)
        gpus = (prefill[:, None] * cost.prefill + decode[None, :] * cost.decode).astype(np.float64)
        if settings.gpu_budget is not None:
            gpus[gpus > settings.gpu_budget] = np.inf
        gpus[: settings.prefill.min_replicas, :] = np.inf
        gpus[:, : settings.decode.min_replicas] = np.inf
        return gpus * self.demand.window_seconds

    def path(self, price: float, missed: Callable[[int], Floats]) -> Path:
        """Cheapest path when a missed request costs `price` GPU-seconds.

        Before one start-up time has passed, nobody can have more than the initial pair.
        """
        startup, initial = self.startup_seconds, self.scene.initial
        cost = self.scene.truth.gpus_per_replica
        slots_of_startup = startup.map(lambda s: math.ceil(s / self.demand.window_seconds))

        def slot_cost(slot: int) -> Floats:
            total = self._held + price * missed(slot)
            if slot < slots_of_startup.prefill:
                total[initial.prefill + 1 :, :] = np.inf
            if slot < slots_of_startup.decode:
                total[:, initial.decode + 1 :] = np.inf
            return total

        starts = startup.zip(cost).map(lambda both: both[0] * both[1])
        return cheapest_path(len(self.demand), slot_cost, starts, initial)

    def missed_in_fluid(self, slot: int) -> Floats:
        """Requests of a slot that exceed what flows through a pair: an optimist's count.

        Prefill shares the base time of full batches and may finish a slot's work up to the longest
        prompt's TTFT objective later; decode runs the largest batch within the ITL objective at all
        times.
        """
        demand, law, slo = self.demand, self.scene.truth.prefill, self.scene.settings.slo
        seconds = demand.window_seconds
        batches = demand.prompt_tokens[slot] / _BATCH_TOKENS
        work = demand.prefill_erlangs[slot] * seconds
        work -= max(demand.requests[slot] - batches, 0.0) * law.base_seconds
        needed = PerRole(
            max(work, 0.0) / (seconds + slo.ttft_objective_seconds(self._longest_prompt_tokens)),
            demand.decode_tokens_per_second[slot] / self._replica.tokens_per_second_within_slo,
        )
        prefill, decode = (
            np.minimum(np.arange(most + 1) / need, 1.0) if need > 0 else np.ones(most + 1)
            for most, need in zip(self._most, needed, strict=True)
        )
        return np.asarray(
            demand.requests[slot] * (1 - np.minimum(prefill[:, None], decode[None, :]))
        )

    @cached_property
    def _longest_prompt_tokens(self) -> float:
        return max(self.demand.peak_demand().shape.prompt_tokens.tokens)

    @cached_property
    def burst_erlangs(self) -> Floats:
        """Prefill work of each slot in its busiest `burst_seconds`, or in all of it."""
        if self.burst_seconds is None:
            return self.demand.prefill_erlangs
        scene = self.scene
        fine = offered(
            scene.trace, scene.truth, scene.settings, window_seconds=self.burst_seconds
        ).prefill_erlangs
        each = round(self.demand.window_seconds / self.burst_seconds)
        padded = np.pad(fine, (0, each * len(self.demand) - len(fine)))
        return np.asarray(padded.reshape(-1, each).max(axis=1))

    def missed_with_queues(self, load_factor: float) -> Callable[[int], Floats]:
        """Requests of a slot that would miss under steady load `load_factor` times the true one.

        Prefill is held to the slot's busiest `burst_seconds`, which no average shows.
        """
        shares = [self._shares(slot, load_factor) for slot in range(len(self.demand))]
        requests = self.demand.requests
        return lambda slot: np.asarray(
            requests[slot] * (1 - shares[slot][0][:, None] * shares[slot][1][None, :])
        )

    def _shares(self, slot: int, load_factor: float) -> tuple[Floats, Floats]:
        demand = self.demand.peak_demand(slice(slot, slot + 1))
        load = replace(demand.load, prefill_erlangs=float(self.burst_erlangs[slot]))
        load = load.times(load_factor)
        capacity = Capacity(
            self.scene.truth,
            self.scene.settings,
            Demand(load=load, shape=demand.shape, kv_held_factor=demand.kv_held_factor),
        )
        most = self._most
        decodes = [capacity.decode(count) for count in range(1, most.decode + 1)]
        prefill = [
            capacity.ttft_attainment(
                PerRole(count, max(count, most.decode)),
                capacity.prefill.wait(count),
                decodes[-1],
            )
            for count in range(1, most.prefill + 1)
        ]
        wait = capacity.prefill.wait(most.prefill)
        decode = [
            state.itl_attainment
            * capacity.ttft_attainment(
                PerRole(max(count, most.prefill), count),
                wait,
                state,
            )
            for count, state in enumerate(decodes, start=1)
        ]
        return np.array([0.0, *prefill]), np.array([0.0, *decode])
