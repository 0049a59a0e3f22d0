"""Plays policies against traces in parallel processes and sets the results side by side."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from policies.calibration import slowed
from policies.config import PolicySettings, Slo
from policies.profile import Profile
from policies.types import PerRole
from replay.backends import BACKENDS, NATIVE
from replay.backlogs import Backlogs
from replay.baselines.registry import BOUND, CONTENDERS
from replay.bound import relaxed_gpu_hours
from replay.compiled import numba_installed
from replay.flaps import Flaps
from replay.physics import Physics
from replay.requests import Requests
from replay.scene import TICK_SECONDS, Lens, Scene
from replay.scoring import Score
from replay.simulator import Step
from replay.sizing import initial_pair
from replay.traces import Trace, of_requests, open_trace
from replay.traces.intensity import auto_rate_scale
from replay.traces.sample import sample_trace
from replay.traces.shape import scale_rate
from replay.traces.source import Options

SAMPLE = "sample"
SEARCHES = (BOUND, "static_peak")  # they replay a trace many times to make one policy
_MOST_POINTS = 400
_WORTH_COMPILING = 1_000_000  # requests, about 20 s of the simulator as plain Python
_WORTH_LOADING = 100_000
_REPLAYS_OF_SEARCH = 60
_MOST_IN_MEMORY = 5_000_000  # requests; 160 MB


class Playable(Protocol):
    """What a case is played on; cheap to send to another process."""

    @property
    def name(self) -> str:
        """What results are told apart by."""

    def open(self, seed: int = 0) -> Trace:
        """Give the requests; TraceError when they cannot be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Where a trace comes from and how much of it there is; cheap to send to another process."""

    path: Path | None = None
    rate_scale: float = 1.0
    options: Options = field(default_factory=Options)

    @property
    def name(self) -> str:
        """The file's name without its ending, or `sample`."""
        return self.path.stem if self.path else SAMPLE

    def unscaled(self, seed: int = 0) -> Trace:
        """Open the trace at its own rate; TraceError when it cannot be used."""
        if self.path is None:
            return sample_trace(seed)
        return open_trace(self.path, options=replace(self.options, seed=seed))

    def open(self, seed: int = 0) -> Trace:
        """Open the trace at the rate asked for; one that fits is read into memory at once."""
        return in_memory(scale_rate(self.unscaled(seed), self.rate_scale, seed=seed))

    def scaled_automatically(self, profile: Profile, slo: Slo) -> Workload:
        """The same at the rate at which its peak needs about twelve replicas."""
        return replace(self, rate_scale=auto_rate_scale(self.unscaled(), profile, slo))


def in_memory(trace: Trace) -> Trace:
    """Draw or read a trace once for all passes over it, if it fits."""
    parts, rows = [], 0
    for part in trace.chunks():
        parts.append(part)
        rows += len(part)
        if rows > _MOST_IN_MEMORY:
            return trace
    held = of_requests(trace.name, Requests.concat(parts))
    return replace(held, notes=trace.notes, ledgers=trace.ledgers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What policies are told, and in what the fleet differs from it.

    The fleet takes 1 + `profile_error` times as long for everything as the profile says. Policies
    see it through the `lens`; searches, which know all, do not.
    """

    profile: Profile
    settings: PolicySettings
    profile_error: float = 0.0
    tick_seconds: float = TICK_SECONDS
    lens: Lens | None = None

    def scene(self, trace: Trace, *, seed: int = 0, compiled: bool | None = None) -> Scene:
        """Set a trace on this stage."""
        startup = self.settings.roles.map(lambda role: role.startup_seconds)
        truth = slowed(self.profile, PerRole.of(lambda _: 1.0 + self.profile_error))
        return Scene(
            trace=trace,
            physics=Physics.from_profile(truth, startup_seconds=startup),
            truth=truth,
            profile=self.profile,
            settings=self.settings,
            initial=initial_pair(trace, self.profile, self.settings),
            tick_seconds=self.tick_seconds,
            seed=seed,
            compiled=compiled,
            lens=self.lens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run: a policy with its knobs, on a workload, by a seed, in a simulator.

    A policy that searches does so in ours, whatever its result is then played in.
    """

    policy: str
    workload: Playable
    stage: Stage
    seed: int = 0
    knobs: Mapping[str, Any] = field(default_factory=dict)
    backend: str = NATIVE


@dataclass(frozen=True, slots=True)
class Moment:
    """The fleet at one tick."""

    seconds: float
    ready: PerRole[int]
    requests_per_second: float | None
    kv_backlog_requests: float | None


class Timeline:
    """Keeps at most 400 moments of a run of any length, evenly spread; and the mean ratio."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._stride, self._seen = 1, 0
        self._ratios, self._ratio_sum = 0, 0.0

    def add(self, step: Step) -> None:
        """See one tick."""
        ready = step.pools.map(lambda pool: pool.ready_replicas)
        if ready.decode:
            self._ratios += 1
            self._ratio_sum += ready.prefill / ready.decode
        if self._seen % self._stride == 0:
            seen = step.observation
            self.moments.append(
                Moment(
                    seen.observed_at_seconds,
                    ready,
                    seen.requests_per_second,
                    seen.kv_transfer_backlog_requests,
                )
            )
            if len(self.moments) > _MOST_POINTS:
                self.moments = self.moments[::2]
                self._stride *= 2
        self._seen += 1

    @property
    def p_d_ratio_mean(self) -> float | None:
        """Ready prefill over ready decode replicas, the mean over ticks; None without any."""
        return self._ratio_sum / self._ratios if self._ratios else None

    @property
    def seconds(self) -> float:
        """When the last moment kept was."""
        return self.moments[-1].seconds if self.moments else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one case. `relaxed_gpu_hours` is the fluid model's, with the bound only.

    `backlog_seconds` is the longest backlog, `drain_seconds` the longest that one took to drain.
    `bad_lines` of the trace's file were skipped; the first three are told.
    """

    case: Case
    score: Score
    scaling_events_per_hour: float
    p_d_ratio_mean: float | None
    flaps: int = 0
    backlog_seconds: float = 0.0
    drain_seconds: float = 0.0
    timeline: tuple[Moment, ...] = ()
    relaxed_gpu_hours: float | None = None
    bad_lines: int | None = 0
    bad_line_examples: tuple[str, ...] = ()


def play(case: Case) -> Run:
    """Run one case, in this process."""
    trace = case.workload.open(case.seed)
    stage = replace(case.stage, lens=None) if case.policy in SEARCHES else case.stage
    scene = stage.scene(trace, seed=case.seed, compiled=_compiled(trace, case.policy))
    contender = CONTENDERS[case.policy]
    policy = contender.make(scene, contender.knobs(**case.knobs))
    timeline, flaps = Timeline(), Flaps()
    backlogs = Backlogs(case.stage.settings.slo)

    def see(step: Step) -> None:
        for watching in (timeline, flaps, backlogs):
            watching.add(step)

    score = BACKENDS[case.backend](scene, policy, tick_seconds=contender.tick_seconds, on_step=see)
    hours = timeline.seconds / 3600
    return Run(
        case=case,
        score=score,
        scaling_events_per_hour=score.scaling_events / hours if hours else 0.0,
        p_d_ratio_mean=timeline.p_d_ratio_mean,
        flaps=flaps.count,
        backlog_seconds=backlogs.longest_seconds,
        drain_seconds=backlogs.drain_seconds,
        timeline=tuple(timeline.moments),
        relaxed_gpu_hours=relaxed_gpu_hours(scene) if case.policy == BOUND else None,
        bad_lines=trace.bad_lines,
        bad_line_examples=trace.bad_line_examples,
    )


def _compiled(trace: Trace, policy: str) -> bool | None:
    """Whether to use machine code: long runs and searches make up for compiling it in 20 seconds.

    Short ones do not even make up for loading it. In between, None takes it if an earlier run has
    left it on disk.
    """
    replays = _REPLAYS_OF_SEARCH if policy in SEARCHES else 1
    seen = 0
    for chunk in trace.chunks():
        seen += len(chunk)
        if seen * replays > _WORTH_COMPILING and numba_installed():
            return True
    return None if seen * replays > _WORTH_LOADING else False


def play_all(
    cases: Sequence[Case], *, processes: int, on_run: Callable[[Run], None] = lambda _: None
) -> list[Run]:
    """Run all cases in parallel processes; the order of the result is that of the cases.

    The slowest, the searches, start first. An error in one case ends all and is raised here.
    """
    if processes == 1 or len(cases) == 1:
        runs = []
        for case in cases:
            runs.append(play(case))
            on_run(runs[-1])
        return runs
    # A fresh interpreter each: forking a process that has threads (numba's, numpy's) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(cases)), mp_context=context) as executor:
        order = sorted(range(len(cases)), key=lambda index: _quickness(cases[index]))
        futures: dict[Future[Run], int] = {
            executor.submit(play, cases[index]): index for index in order
        }
        found: dict[int, Run] = {}
        try:
            for future in as_completed(futures):
                found[futures[future]] = future.result()
                on_run(found[futures[future]])
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise
    return [found[index] for index in range(len(cases))]


def _quickness(case: Case) -> int:
    return SEARCHES.index(case.policy) if case.policy in SEARCHES else len(SEARCHES)


def as_dict(run: Run) -> dict[str, Any]:
    """Plain values of one run, without its timeline."""
    return {
        "policy": run.case.policy,
        "trace": run.case.workload.name,
        "seed": run.case.seed,
        "backend": run.case.backend,
        **asdict(run.score),
        "scaling_events_per_hour": run.scaling_events_per_hour,
        "p_d_ratio_mean": run.p_d_ratio_mean,
        "flaps": run.flaps,
        "backlog_seconds": run.backlog_seconds,
        "drain_seconds": run.drain_seconds,
        "bad_lines": run.bad_lines,
        "bad_line_examples": run.bad_line_examples,
    }
