import textwrap
from collections.abc import Iterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from forecasting.ets import Ets
from forecasting.forecast import Mode
from forecasting.forecaster import CannotRun
from planner.api.view import ServiceView
from planner.clock import AcceleratedClock
from planner.fitting import Fitting, FitWorker
from planner.journal import Journal
from planner.loop import Loop, LoopSettings
from planner.metrics.scripted import ScriptedMetrics
from planner.refitting import SERVICE_MODELS, Refitting, with_models
from planner.telemetry import Telemetry
from planner.workloads.in_memory import InMemoryWorkload
from policies.config import ForecastSettings, PolicySettings
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.models import to_fit
from policies.profile import builtin
from policies.types import Observation, PerRole

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
SETTINGS = PolicySettings(forecast=ForecastSettings(models=("ets",)))
WAVES = [20 + 10 * np.sin(i / 9) for i in range(120)]


def seen(at_seconds, rate):
    return Observation(
        observed_at_seconds=at_seconds,
        window_seconds=60.0,
        requests_per_second=rate,
        input_tokens=Lengths.lognormal(1000.0),
        output_tokens_mean=100.0,
    )


@pytest.fixture
def engine():
    return Engine(PROFILE, SETTINGS)


@pytest.fixture
def memory(engine):
    return engine.remember([seen(30.0 * i, rate) for i, rate in enumerate(WAVES)], Memory())


@pytest.fixture
def worker() -> Iterator[FitWorker]:
    worker = FitWorker(deadline_seconds=20.0)
    yield worker
    worker.close()


def test_a_service_has_models_unless_it_is_told_which():
    assert with_models(PolicySettings()).forecast.models == SERVICE_MODELS
    assert [one.name for one in to_fit(with_models(PolicySettings()).forecast)] == list(
        SERVICE_MODELS
    )
    assert with_models(SETTINGS) is SETTINGS
    none = PolicySettings(forecast=ForecastSettings(models=()))
    assert to_fit(with_models(none).forecast) == ()


async def test_the_loop_uses_a_fit_from_the_tick_after_it_is_done(engine, memory, worker):
    fitting = Fitting(forecasters=(Ets(),), worker=worker)
    loop = Loop(
        metrics=ScriptedMetrics([seen(3600.0, 25.0)]),
        workload=InMemoryWorkload(PerRole(2, 2)),
        clock=AcceleratedClock(start_seconds=3600.0),
        engine=engine,
        settings=LoopSettings(tick_seconds=30.0),
        memory=memory,
        renew=Refitting(fitting).renew,
    )
    await loop.tick(3600.0)
    assert not any("ets" in tracker.models for tracker in loop.memory.trackers)
    await fitting.finished()
    await loop.tick(3600.5)
    assert all("ets" in tracker.models for tracker in loop.memory.trackers)
    await loop.tick(3630.0)
    newest = loop.memory.trackers[0]
    assert newest.settings.names[-1] == "ets"
    assert np.isfinite(newest.ledger.open[-1].centres).all()
    assert newest.forecast.mode is not Mode.NO_DATA
    await fitting.close()


async def test_a_fit_that_fails_is_counted_and_changes_nothing(
    memory, worker, tmp_path, monkeypatch
):
    (tmp_path / "broken_model.py").write_text(
        textwrap.dedent("""
        class Broken:
            name = "ets"

            def fit(self, series, target):
                raise KeyError("oh")
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    from broken_model import Broken

    view = ServiceView(
        journal=Journal(), profile=PROFILE, settings=SETTINGS, mode="advise",
        clock=AcceleratedClock(), tick_seconds=10.0, registry=CollectorRegistry(),
    )  # fmt: skip
    fitting = Fitting(forecasters=(Broken(),), worker=worker, listener=Telemetry(view).fitted)
    refitting = Refitting(fitting)
    assert refitting.renew(memory, 3600.0) is memory
    await fitting.finished()
    renewed = refitting.renew(memory, 3600.0)
    await fitting.close()
    count = view.registry.get_sample_value(
        "pd_planner_fits_total", {"model": "ets", "outcome": "failed"}
    )
    assert count == 3.0
    for before, after in zip(memory.trackers, renewed.trackers, strict=True):
        assert isinstance(after.refusals["ets"], CannotRun)
        assert after.forecast is before.forecast


def test_nonsense_from_the_fitting_leaves_the_memory_as_it_was(memory, worker):
    class Wild(Fitting):
        def take(self):
            raise RuntimeError("no model of ours")

    assert Refitting(Wild(forecasters=(), worker=worker)).renew(memory, 3600.0) is memory
