"""Fits run in a process of their own: a fit that hangs is killed, and the loop never waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import structlog

from forecasting.due import Schedule
from forecasting.forecaster import CannotRun, Fit, Forecaster, Refusal, fit
from forecasting.series import Series
from forecasting.target import Target
from forecasting.tracker import Tracker
from planner.clock import Stopwatch

log = structlog.get_logger(__name__)

_SPAWN = multiprocessing.get_context("spawn")
_START_SECONDS = 30.0
_GRACE_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFit:
    """A fit and how long it took in the worker."""

    fit: Fit
    seconds: float


class FitWorker:
    """One process that fits one model at a time; killed and replaced when it overruns."""

    def __init__(self, deadline_seconds: float = 60.0) -> None:
        self.deadline_seconds = deadline_seconds
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._turn = asyncio.Lock()

    async def fit(self, forecaster: Forecaster, series: Series, target: Target) -> TimedFit:
        """Fit in the worker; a hang or a crash comes back as a refusal."""
        async with self._turn:
            watch = Stopwatch()
            outcome = await asyncio.to_thread(self._ask, forecaster, series, target)
            if isinstance(outcome, TimedFit):
                return outcome
            failed = Fit(forecaster.name, series.end_seconds, outcome)
            return TimedFit(fit=failed, seconds=watch.seconds)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.join(_GRACE_SECONDS)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def _ask(self, forecaster: Forecaster, series: Series, target: Target) -> TimedFit | CannotRun:
        try:
            pipe = self._started()
            pipe.send((forecaster, series, target))
            if pipe.poll(self.deadline_seconds):
                answer = pipe.recv()
                return answer if isinstance(answer, TimedFit) else _crashed(str(answer))
        except (OSError, EOFError) as error:
            self.close()
            return _crashed(f"the worker ended: {type(error).__name__} {error}".rstrip())
        except Exception as error:  # noqa: BLE001 - a model from outside may not survive pickling
            return _crashed(f"{type(error).__name__}: {error}")
        self.close()
        return CannotRun(Refusal.DEADLINE, f"no fit within {self.deadline_seconds:g} s")

    def _started(self) -> Connection:
        if self._process is not None and self._process.is_alive() and self._pipe is not None:
            return self._pipe
        self.close()
        ours, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs,), daemon=True, name="fits")
        self._process.start()
        theirs.close()
        self._pipe = ours
        if not ours.poll(_START_SECONDS):
            raise OSError(f"it did not start within {_START_SECONDS:g} s")
        ours.recv()
        return ours


Listener = Callable[[TimedFit], None]


def ignored(done: TimedFit) -> None:
    """Nobody wants to know."""
    del done


@dataclass(slots=True, kw_only=True)
class Fitting:
    """Keeps the models of some trackers fresh, in the background.

    `begin` starts what is due and returns at once; `take` hands over what has come since, for
    `Tracker.with_fits`. At most one round runs at a time, so a slow one delays the next.
    """

    forecasters: tuple[Forecaster, ...]
    worker: FitWorker
    schedule: Schedule = field(default_factory=Schedule)
    listener: Listener = ignored
    _ready: dict[str, list[Fit]] = field(default_factory=dict)
    _round: asyncio.Task[None] | None = None

    def begin(self, trackers: Mapping[str, Tracker], now_seconds: float) -> None:
        """Start fitting the models whose fit is older than it may get."""
        if self._round is not None and not self._round.done():
            return
        if due := self.schedule.due(self.forecasters, trackers, now_seconds):
            self._round = asyncio.create_task(self._fit(due, trackers))

    def take(self) -> dict[str, list[Fit]]:
        """Fits that are done, by tracker; each is handed over once."""
        ready, self._ready = self._ready, {}
        return ready

    async def finished(self) -> None:
        """Wait for the round that runs, if one does."""
        if self._round is not None:
            await self._round

    async def close(self) -> None:
        """Stop, whatever runs."""
        self.worker.close()
        if self._round is not None:
            self._round.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._round

    async def _fit(
        self, due: list[tuple[str, Forecaster]], trackers: Mapping[str, Tracker]
    ) -> None:
        for key, forecaster in due:
            tracker = trackers[key]
            done = await self.worker.fit(
                forecaster, tracker.plausible_history(), tracker.settings.target
            )
            self._ready.setdefault(key, []).append(done.fit)
            self.listener(done)
            refused = done.fit.outcome
            if isinstance(refused, CannotRun) and refused.reason in _WORTH_A_WARNING:
                log.warning(
                    "fit failed",
                    series=key,
                    model=forecaster.name,
                    reason=refused.reason.value,
                    why=refused.detail,
                    seconds=round(done.seconds, 2),
                )


_WORTH_A_WARNING = frozenset({Refusal.FAILED, Refusal.NONSENSE, Refusal.DEADLINE})


def timed_fit(forecaster: Forecaster, series: Series, target: Target) -> TimedFit:
    """Fit here and now, with the time that it took."""
    stan = logging.getLogger("cmdstanpy")
    if not stan.hasHandlers():
        stan.addHandler(logging.NullHandler())  # else its first use adds one, and resets the level
    stan.setLevel(logging.WARNING)  # says twice that it fits
    watch = Stopwatch()
    done = fit(forecaster, series, target)
    return TimedFit(fit=done, seconds=watch.seconds)


def _crashed(why: str) -> CannotRun:
    return CannotRun(Refusal.FAILED, why)


def _work(pipe: Connection) -> None:
    """Answer fits until the pipe closes."""
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        pipe.send("ready")
        while True:
            forecaster, series, target = pipe.recv()
            answer = timed_fit(forecaster, series, target)
            try:
                pipe.send(answer)
            except Exception as error:  # noqa: BLE001 - some results cannot be pickled
                pipe.send(f"{type(error).__name__}: {error}")
