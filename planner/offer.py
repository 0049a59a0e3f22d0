"""What a demo serves: a trace at a multiple of its rate, and how it is to be simulated."""

from __future__ import annotations

from dataclasses import dataclass

from policies.config import PolicySettings
from policies.profile import Profile
from replay.compiled import is_warm, numba_installed
from replay.physics import Physics
from replay.plant.events import run as plant_events
from replay.scene import Scene
from replay.sizing import initial_pair, offered
from replay.traces import Trace
from replay.traces.intensity import auto_rate_scale
from replay.traces.shape import scale_rate

# Fewer requests are played as plain Python before the simulator would have been compiled.
_WORTH_COMPILING_REQUESTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A workload and the fleet it meets. `must_compile`: the run begins with some 20 s of that."""

    scene: Scene
    rate_scale: float
    requests: int
    span_seconds: float
    must_compile: bool


def make_offer(
    trace: Trace, profile: Profile, settings: PolicySettings, *, factor: float | None, seed: int
) -> Offer:
    """Scale a trace; without a `factor`, so that its peak needs about a dozen replicas.

    The fleet starts with what the first minutes need, and is as fast as the profile says.
    """
    if factor is None:
        factor = auto_rate_scale(trace, profile, settings.slo)
    scaled = scale_rate(trace, factor, seed=seed)
    load = offered(scaled, profile, settings)
    requests = int(load.requests.sum())
    is_compiled = is_warm(plant_events)
    startup_seconds = settings.roles.map(lambda role: role.startup_seconds)
    scene = Scene(
        trace=scaled,
        physics=Physics.from_profile(profile, startup_seconds=startup_seconds),
        truth=profile,
        profile=profile,
        settings=settings,
        initial=initial_pair(scaled, profile, settings),
        compiled=is_compiled or (requests >= _WORTH_COMPILING_REQUESTS and numba_installed()),
    )
    return Offer(
        scene=scene,
        rate_scale=factor,
        requests=requests,
        span_seconds=len(load) * load.window_seconds,
        must_compile=bool(scene.compiled) and not is_compiled,
    )
