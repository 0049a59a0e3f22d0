"""The live service in control of a simulated fleet, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aiohttp import web
from prometheus_client import CollectorRegistry

from planner.api.app import make_app
from planner.api.view import ServiceView, Summary
from planner.clock import AcceleratedClock
from planner.front_end import make_front_end
from planner.journal import Journal
from planner.loop import Listener, Loop, LoopSettings
from planner.metrics.simulated import SimulatedMetrics
from planner.offer import Offer
from planner.telemetry import Telemetry
from planner.workloads.in_memory import InMemoryPool
from planner.workloads.simulated import SimulatedWorkload
from policies.engine import Engine
from policies.types import PerRole
from replay.fleet import Fleet
from replay.plant import Plant
from replay.refitting import Refits
from replay.scene import TICK_SECONDS
from replay.scoring import Score
from replay.simulator import PATIENCE_SECONDS, Static
from replay.sizing import peak_pair
from replay.traces.shape import cut
from replay.traces.trace import skipped_lines

# Nothing is decided for a static fleet, so its run need not stop often.
_STATIC_TICK_SECONDS = 60.0


class Demo:
    """One offer, one simulated fleet, one service. Time starts at 0 and passes `speed` times."""

    def __init__(self, offer: Offer, *, speed: float, listener: Listener, foresee: bool) -> None:
        self._offer = offer
        self._scene = scene = offer.scene
        self._peak = peak_pair(scene.trace, scene.profile, scene.settings)
        plant = Plant(scene.physics, scene.initial, seed=scene.seed, compiled=scene.compiled)
        self._fleet = Fleet(plant, scene.trace.chunks(), scene.settings.slo)
        self._view = ServiceView(
            journal=Journal(),
            profile=scene.profile,
            settings=scene.settings,
            mode="demo",
            clock=AcceleratedClock(speed),
            tick_seconds=TICK_SECONDS,
            registry=CollectorRegistry(),
            summary=self._so_far,
        )
        self._loop = Loop(
            metrics=SimulatedMetrics(self._fleet),
            workload=SimulatedWorkload(self._fleet),
            clock=self._view.clock,
            engine=Engine(scene.profile, scene.settings),
            front_end=make_front_end(InMemoryPool(1), scene.profile, scene.settings),
            settings=LoopSettings(tick_seconds=TICK_SECONDS, act=True, foresee=foresee),
            listeners=(Telemetry(self._view).observe, listener),
            renew=Refits.of(scene.settings.forecast).renew,
            journal=self._view.journal,
        )

    def app(self) -> web.Application:
        """The page and the API of this run."""
        return make_app(self._view)

    async def run(self) -> None:
        """Control the fleet until all requests are served."""
        await self._loop.run(until=self._is_over)

    def _is_over(self) -> bool:
        late_seconds = self._fleet.now_seconds - self._offer.span_seconds
        return self._fleet.finished or late_seconds > PATIENCE_SECONDS

    def outcome(self) -> Outcome:
        """Score the run, and play what it was offered so far to a static fleet."""
        now_seconds = self._fleet.now_seconds
        scene = self._scene
        if not self._is_over():
            scene = replace(scene, trace=cut(scene.trace, 0.0, now_seconds))
        peak = peak_pair(scene.trace, scene.profile, scene.settings)
        return Outcome(
            offer=self._offer,
            simulated_seconds=now_seconds,
            score=self._fleet.score(),
            static_peak=scene.play(Static(peak), tick_seconds=_STATIC_TICK_SECONDS),
            static_peak_replicas=peak,
        )

    def _so_far(self) -> Summary:
        """The interim result, with the bill so far of a static fleet sized for the whole peak."""
        pairs = self._peak.zip(self._scene.profile.gpus_per_replica)
        gpus = sum(replicas * gpus for replicas, gpus in pairs)
        return {
            **self._fleet.score().as_dict(),
            "static_peak_gpu_hours": gpus * self._fleet.now_seconds / 3600,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What serving an offer took, beside a static fleet that is sized for its peak."""

    offer: Offer
    simulated_seconds: float
    score: Score
    static_peak: Score
    static_peak_replicas: PerRole[int]

    @property
    def saved_fraction(self) -> float:
        """Share of the static fleet's GPU-hours that was not needed."""
        return 1.0 - self.score.gpu_hours / self.static_peak.gpu_hours

    def as_dict(self) -> Mapping[str, float | str | tuple[str, ...] | None]:
        """Flat, for one line of JSON; units are in the names."""
        static = {
            f"static_peak_{name}": value for name, value in self.static_peak.as_dict().items()
        }
        return {
            "trace": self.offer.scene.trace.name,
            "rate_scale": self.offer.rate_scale,
            "profile": self.offer.scene.profile.name,
            "bad_lines": self.offer.scene.trace.bad_lines,
            "bad_line_examples": self.offer.scene.trace.bad_line_examples,
            "simulated_seconds": self.simulated_seconds,
            **self.score.as_dict(),
            **static,
            "saved_fraction": self.saved_fraction,
        }

    @property
    def _verdict(self) -> str:
        saved = self.saved_fraction
        if saved < 0:
            return f"took {1 - saved:.2g} times the GPU-hours of"
        return f"saved {saved:.0%} of the GPU-hours of"

    def as_text(self) -> str:
        """A table for a person."""
        static, scene = self.static_peak, self.offer.scene
        size = f"static {self.static_peak_replicas.prefill}+{self.static_peak_replicas.decode}"
        rows = [
            ("", "planner", size),
            ("requests", f"{self.score.requests:,}", f"{static.requests:,}"),
            *(
                (f"met {name}", _percent(ours), _percent(theirs))
                for name, ours, theirs in (
                    ("TTFT and ITL", self.score.joint_attainment, static.joint_attainment),
                    ("TTFT", self.score.ttft_attainment, static.ttft_attainment),
                    ("ITL", self.score.itl_attainment, static.itl_attainment),
                )
            ),
            ("GPU-hours", f"{self.score.gpu_hours:.1f}", f"{static.gpu_hours:.1f}"),
            ("scaling events", str(self.score.scaling_events), str(static.scaling_events)),
        ]
        slo = scene.settings.slo
        skipped = skipped_lines(scene.trace.bad_lines, scene.trace.bad_line_examples)
        table = "\n".join(
            [*skipped, *(f"  {name:<18}{ours:>12}{theirs:>14}" for name, ours, theirs in rows)]
        )
        return (
            f"{scene.trace.name}, arrivals x {self.offer.rate_scale:g}, {scene.profile.name}, "
            f"objective TTFT {slo.ttft_seconds:g} s, ITL {slo.itl_seconds * 1000:g} ms\n{table}\n"
            f"{self._verdict} a static fleet that is sized for the peak, known in hindsight"
        )


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
