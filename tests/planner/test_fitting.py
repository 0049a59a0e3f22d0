import logging
import sys
import textwrap
from collections.abc import AsyncIterator

import numpy as np
import pytest

from forecasting.ets import Ets
from forecasting.forecaster import CannotRun, Refusal
from forecasting.last_value import LastValue
from forecasting.series import Series
from forecasting.target import Target
from forecasting.tracker import Tracker, TrackerSettings
from planner.fitting import Fitting, FitWorker, timed_fit

SERIES = Series(0.0, 60.0, 100 + 10 * np.sin(np.arange(80) / 5))
TARGET = Target(1, 2)


@pytest.fixture
async def worker() -> AsyncIterator[FitWorker]:
    worker = FitWorker(deadline_seconds=20.0)
    yield worker
    worker.close()


@pytest.fixture
def odd_model(tmp_path, monkeypatch):
    """A model whose fit runs the given line; in a file, because the worker has to import it."""

    def make(line):
        (tmp_path / "odd_model.py").write_text(
            textwrap.dedent(f"""
            import os, time

            class Odd:
                name = "odd"

                def fit(self, series, target):
                    {line}
            """)
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "odd_model", raising=False)
        from odd_model import Odd

        return Odd()

    return make


def test_stan_is_quiet_from_its_first_fit_on(monkeypatch):
    """It asks for its logger at the first fit, and makes one that tells all unless there is one."""
    stan = pytest.importorskip("cmdstanpy.utils.logging")
    logger = logging.getLogger("cmdstanpy")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)  # as where nobody has configured logging
    stan.get_logger.cache_clear()
    timed_fit(LastValue(), SERIES, TARGET)
    assert stan.get_logger().level == logging.WARNING


async def test_a_fit_in_the_worker_is_the_fit_made_here(worker):
    done = await worker.fit(Ets(), SERIES, TARGET)
    here = timed_fit(Ets(), SERIES, TARGET)
    np.testing.assert_allclose(done.fit.outcome.path(2), here.fit.outcome.path(2))
    assert done.seconds > 0


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        pytest.param("time.sleep(600)", Refusal.DEADLINE, "within 1 s", id="hangs"),
        pytest.param("os._exit(3)", Refusal.FAILED, "worker ended", id="crashes"),
        pytest.param("raise KeyError('oh')", Refusal.FAILED, "oh", id="raises"),
        pytest.param("return lambda: 1", Refusal.FAILED, "path", id="gives-no-model"),
    ],
)
async def test_an_odd_fit_is_a_refusal_and_the_next_fit_works(odd_model, line, reason, says):
    model = odd_model(line)
    worker = FitWorker(deadline_seconds=20.0)
    await worker.fit(LastValue(), SERIES, TARGET)
    worker.deadline_seconds = 1.0 if reason is Refusal.DEADLINE else 20.0
    refused = (await worker.fit(model, SERIES, TARGET)).fit.outcome
    worker.deadline_seconds = 20.0
    after = (await worker.fit(LastValue(), SERIES, TARGET)).fit.outcome
    worker.close()
    assert isinstance(refused, CannotRun)
    assert refused.reason is reason
    assert says in refused.detail
    assert not isinstance(after, CannotRun)


async def test_due_models_are_fitted_in_the_background_and_handed_over_once(worker):
    fitting = Fitting(forecasters=(LastValue(), Ets()), worker=worker)
    settings = TrackerSettings(names=("last_value", "ets"))
    tracker = Tracker.fresh(settings).update(0.0, None).closed(SERIES.values)
    fitting.begin({"prefill": tracker}, 4800.0)
    assert fitting.take() == {}
    await fitting.finished()
    fits = fitting.take()["prefill"]
    assert [fit.name for fit in fits] == ["last_value", "ets"]
    assert "ets" in tracker.with_fits(fits).models
    assert fitting.take() == {}

    fitting.begin({"prefill": tracker}, 4860.0)  # a minute later nothing is due
    await fitting.finished()
    assert fitting.take() == {}
    fitting.begin({"prefill": tracker}, 4800.0 + 900)
    await fitting.finished()
    assert [fit.name for fit in fitting.take()["prefill"]] == ["ets"]
    await fitting.close()


async def test_a_model_that_hangs_when_it_is_used_is_refused_where_it_is_fitted(odd_model):
    worker = FitWorker(deadline_seconds=1.0)
    odd = odd_model(
        "return type(self)()\n\n"
        "                def path(self, steps):\n                    return [1.0] * steps\n\n"
        "                def extend(self, values):\n                    time.sleep(600)"
    )
    done = await worker.fit(odd, SERIES, TARGET)
    worker.close()
    assert isinstance(done.fit.outcome, CannotRun)
    assert done.fit.outcome.reason is Refusal.DEADLINE


@pytest.mark.parametrize(
    "given", ["float('nan')", "'x'", "None", "float('inf')"], ids=["nan", "text", "none", "inf"]
)
def test_a_model_that_turns_to_nonsense_when_it_is_used_is_refused(odd_model, given):
    odd = odd_model(
        "return type(self)()\n\n"
        "                one = 1.0\n\n"
        "                def path(self, steps):\n                    return [self.one] * steps\n\n"
        "                def extend(self, values):\n                    used = type(self)()\n"
        f"                    used.one = {given}\n                    return used"
    )
    outcome = timed_fit(odd, SERIES, TARGET).fit.outcome
    assert isinstance(outcome, CannotRun)
    assert outcome.reason in (Refusal.NONSENSE, Refusal.FAILED)
