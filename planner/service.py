"""What runs around the loop: the ports' connections, the API's listener, and the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from errno import EADDRINUSE
from functools import partial

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from forecasting.due import Schedule
from planner import kube
from planner.allowance import Allowance
from planner.api.app import make_app
from planner.api.view import ServiceView
from planner.budget import GpuBudget
from planner.clock import WallClock
from planner.config import Config
from planner.errors import UserError
from planner.explain import explain, explain_router
from planner.fitting import Fitting, FitWorker
from planner.front_end import make_front_end
from planner.journal import Journal, Record
from planner.loop import Listener, Loop, LoopSettings
from planner.metrics.config import make_evaluator, make_source
from planner.metrics.pod_work import PodWork
from planner.outcome import BLIND
from planner.ports import Clock, MetricsSource, Workload
from planner.refitting import Refitting, with_models
from planner.store import MemoryStore
from planner.telemetry import Telemetry
from planner.workloads.config import make_router, make_workload
from planner.workloads.notices import Notices
from planner.workloads.pool import ScalablePool
from policies.config import PolicySettings, Slo
from policies.engine import Engine
from policies.memory import Memory
from policies.models import to_fit
from policies.profile import Profile
from policies.types import PerRole

log = structlog.get_logger(__name__)

# One after another: both readings side by side, the budget, the writes, the front end.
_WAITS_OF_A_TICK = 4
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The world of one planner."""

    metrics: MetricsSource
    workload: Workload
    clock: Clock
    listeners: tuple[Listener, ...] = ()
    notices: Notices | None = None
    router: ScalablePool | None = None
    budget: GpuBudget | None = None
    work: PodWork | None = None


async def connect(config: Config) -> Ports:
    """Make the ports that the configuration asks for; nothing is sent yet."""
    api = await kube.connect(config.workload.kubernetes)
    workload = config.workload
    metrics = config.metrics
    work = PodWork(make_evaluator(metrics), metrics.signals, metrics.selection)
    pools = make_workload(workload, api, PerRole.of(lambda role: partial(work.read, role)))
    return Ports(
        metrics=make_source(metrics, config.policy.input_length_cv),
        workload=pools,
        clock=WallClock(),
        listeners=(pools.heed,),
        router=make_router(workload, api),
        notices=Notices(api, workload),
        budget=GpuBudget(api, workload.budget, workload.namespace)
        if workload.budget.asks
        else None,
        work=work,
    )


async def serve(config: Config, profile: Profile, ports: Ports, store: MemoryStore | None) -> None:
    """Decide, and answer requests about it, until a signal ends it; then close the ports."""
    journal = Journal()
    settings = with_models(config.policy)
    view = ServiceView(
        journal=journal,
        profile=profile,
        settings=settings,
        mode=config.mode,
        clock=ports.clock,
        tick_seconds=config.tick_seconds,
        registry=CollectorRegistry(),
        longest_tick_seconds=_WAITS_OF_A_TICK * config.deadline_seconds,
    )
    engine = Engine(profile, settings)
    telemetry = Telemetry(view)
    fitting = _fitting(settings, telemetry)
    loop = Loop(
        metrics=ports.metrics,
        workload=ports.workload,
        clock=ports.clock,
        engine=engine,
        budget=_allowance(ports, config, profile),
        front_end=make_front_end(ports.router, profile, settings),
        settings=LoopSettings(
            tick_seconds=config.tick_seconds,
            deadline_seconds=config.deadline_seconds,
            act=config.mode == "act",
        ),
        quality=config.metrics.quality,
        memory=store.load() if store else Memory(),
        store=store,
        listeners=(
            telemetry.observe,
            partial(log_tick, slo=config.policy.slo),
            *ports.listeners,
            *((ports.notices,) if ports.notices else ()),
        ),
        renew=Refitting(fitting).renew,
        journal=journal,
    )
    try:
        async with listening(make_app(view), config.api.host, config.api.port) as address:
            log.info("started", address=address, mode=config.mode, profile=profile.name)
            await until_signalled(_warmed(loop, config, engine))
            log.info("stopping")
    finally:
        await fitting.close()
        await _close(ports)


def _fitting(settings: PolicySettings, telemetry: Telemetry) -> Fitting:
    """Fits in a process of their own."""
    return Fitting(
        forecasters=to_fit(settings.forecast),
        worker=FitWorker(),
        schedule=Schedule(settings.forecast.refit_seconds),
        listener=telemetry.fitted,
    )


async def _close(ports: Ports) -> None:
    """Tell what is left to tell, and release connections."""
    if ports.notices:
        await ports.notices.settle()
    await ports.metrics.close()
    if ports.work:
        await ports.work.close()
    await ports.workload.close()


def _allowance(ports: Ports, config: Config, profile: Profile) -> Allowance | None:
    """What the cluster grants, if the configuration asks for it."""
    if ports.budget is None:
        return None
    return Allowance(
        ports.budget,
        profile.gpus_per_replica,
        every_seconds=config.workload.budget.every_seconds,
        deadline_seconds=config.deadline_seconds,
    )


async def _warmed(loop: Loop, config: Config, engine: Engine) -> None:
    """Run the loop, with the past first; by then probes are answered and signals heard."""
    from planner.warm_start import warm_start  # what it reads with is slow to import

    loop.memory = await warm_start(config, engine, loop.memory, loop.clock)
    await loop.run()


def log_tick(record: Record, slo: Slo) -> None:
    """Log a tick; one that could not see or could not write is a warning."""
    hold = record.decision.hold
    amiss = record.write_failures or (hold and hold.reason in BLIND)
    (log.warning if amiss else log.info)(
        "tick",
        now_seconds=record.decision.decided_at_seconds,
        decision=explain(record.decision, slo, record.pools),
        **({"router": explain_router(record.router.decision)} if record.router else {}),
        applied=record.applied,
        problems=record.observation.problems,
        failures=[f"{name}: {why}" for name, why in record.write_failures.items()],
    )


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve `app` while the block runs; yields its address, which names the port really taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            busy = "it is in use" if error.errno == EADDRINUSE else error.strerror
            raise UserError(
                f"cannot listen on {host}:{port}: {busy}; choose another port, with "
                "`planner demo --port N` or api.port in the configuration"
            ) from None
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until_signalled(work: Coroutine[None, None, None]) -> bool:
    """Run `work`; SIGINT or SIGTERM cancels it. Return whether it ended by itself."""
    task = asyncio.ensure_future(work)
    events = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def stop() -> None:
        signalled.set()
        task.cancel()

    for one in _SIGNALS:
        events.add_signal_handler(one, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled.is_set():
            raise
    finally:
        for one in _SIGNALS:
            events.remove_signal_handler(one)
    return not signalled.is_set()
