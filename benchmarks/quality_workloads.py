"""The workloads that decisions are judged on: public traces, days drawn from real rates, shapes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from quality_criteria import BURSTS, LONG_ANSWERS, SMOOTH, Criterion

from policies.config import PolicySettings
from policies.profile import Profile, builtin
from replay.compare import in_memory
from replay.traces import Trace, open_trace
from replay.traces.intensity import auto_rate_scale
from replay.traces.lengths import PUBLISHED
from replay.traces.sample import sample_trace
from replay.traces.shape import cut, mix, scale_rate
from replay.traces.shapes import shaped_trace
from replay.traces.shapes.traffic import DAY_SECONDS, HOUR_SECONDS, Traffic
from replay.traces.source import Options

SMALL, LARGE = "llama-3-8b-h100-fp8-tp1", "llama-3-70b-h100-fp8-tp2"
# Days are played with the large model, so that a fleet worth scaling is a few million requests.
_PEAK_REPLICAS = {SMALL: 12.0, LARGE: 16.0}
_SLO = PolicySettings().slo

Make = Callable[[int], Trace]


def traces_folder() -> Path | None:
    """The folder that TRACES names, else ../shared/traces; None without it."""
    beside = Path(__file__).parents[2] / "shared" / "traces"
    folder = Path(os.environ.get("TRACES") or beside)
    return folder if folder.is_dir() else None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A workload by its name: what it is held to, and how to make it from a seed.

    `rate_scale` None takes the rate at which the peak minute needs a dozen replicas or so.
    `files` are those that it reads below the folder of traces.
    """

    name: str
    criterion: Criterion
    model: str
    make: Make
    rate_scale: float | None = None
    files: tuple[str, ...] = ()

    @property
    def profile(self) -> Profile:
        """The replicas that serve it."""
        return builtin(self.model)

    @property
    def missing(self) -> tuple[str, ...]:
        """Files that are not there."""
        folder = traces_folder()
        return tuple(name for name in self.files if not folder or not (folder / name).is_file())

    def open(self, seed: int = 0) -> Trace:
        """Give its requests; those opened last are kept."""
        return _opened(self.name, seed)


@lru_cache(maxsize=1)
def _opened(name: str, seed: int) -> Trace:
    recipe = RECIPES[name]
    trace = recipe.make(seed)
    return in_memory(scale_rate(trace, _scale(name), seed=seed))


@lru_cache
def _scale(name: str) -> float:
    """The same for all seeds."""
    recipe = RECIPES[name]
    if recipe.rate_scale is not None:
        return recipe.rate_scale
    peak = _PEAK_REPLICAS[recipe.model]
    return auto_rate_scale(recipe.make(0), recipe.profile, _SLO, peak)


def _file(name: str, seed: int, lengths: str | None = None) -> Trace:
    folder = traces_folder()
    if folder is None:
        raise FileNotFoundError(f"no folder of traces for {name}: set TRACES")
    law = PUBLISHED[lengths] if lengths else None
    return open_trace(folder / name, options=Options(seed=seed, lengths=law))


_AZURE_2024 = tuple(f"azure-2024/azure2024_{kind}_10min_digitised.csv" for kind in ("conv", "code"))


def _ratio_shift_day(seed: int) -> Trace:
    """A Tuesday of Azure 2024: code asks for prefill in office hours, conversation for decode.

    The file of conversations begins on a Sunday, that of code on a Friday.
    """
    conversation, code = (
        _file(name, seed, lengths)
        for name, lengths in zip(_AZURE_2024, ("azure-conversation", "azure-code"), strict=True)
    )
    days = [
        cut(conversation, 2 * DAY_SECONDS, 3 * DAY_SECONDS),
        cut(code, 4 * DAY_SECONDS, 5 * DAY_SECONDS),
    ]
    return mix("ratio-shift-day", days)


_SERVEGEN = "servegen/m-mid-aggregate-10min.csv"


def _servegen_day(seed: int) -> Trace:
    return cut(_file(_SERVEGEN, seed, "azure-conversation"), 2 * DAY_SECONDS, 3 * DAY_SECONDS)


def _shape(
    shape: str, seconds: float, *, input_tokens: float = 1500, output_tokens: float = 300
) -> Make:
    def make(seed: int) -> Trace:
        traffic = Traffic(
            requests_per_second=5,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            duration_seconds=seconds,
            seed=seed,
        )
        return shaped_trace(shape, traffic)

    return make


def _trace(name: str) -> Make:
    return lambda seed: _file(name, seed)


_CONV = "azure-2023/AzureLLMInferenceTrace_conv.csv"
_CODE = "azure-2023/AzureLLMInferenceTrace_code.csv"
_MOONCAKE = "mooncake/conversation_trace.jsonl"
_HALF_DAY = 12 * HOUR_SECONDS

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("conversation", SMOOTH, SMALL, _trace(_CONV), 32.0, (_CONV,)),
        Recipe("code", BURSTS, SMALL, _trace(_CODE), 24.0, (_CODE,)),
        Recipe("mooncake", SMOOTH, SMALL, _trace(_MOONCAKE), None, (_MOONCAKE,)),
        Recipe("sample", SMOOTH, SMALL, sample_trace, 40.0),
        Recipe("ratio-shift-day", SMOOTH, LARGE, _ratio_shift_day, None, _AZURE_2024),
        Recipe("servegen-day", SMOOTH, LARGE, _servegen_day, None, (_SERVEGEN,)),
        Recipe("diurnal", SMOOTH, LARGE, _shape("diurnal", DAY_SECONDS)),
        Recipe(
            "long-answers",
            LONG_ANSWERS,
            LARGE,
            _shape("diurnal", _HALF_DAY, input_tokens=500, output_tokens=1500),
        ),
        Recipe("ratio-shift", SMOOTH, LARGE, _shape("ratio-shift", 2 * HOUR_SECONDS)),
        Recipe("steps", BURSTS, LARGE, _shape("steps", 2 * HOUR_SECONDS)),
        Recipe("flash-crowd", BURSTS, LARGE, _shape("flash-crowd", 2 * HOUR_SECONDS)),
        Recipe("bursts", BURSTS, LARGE, _shape("bursts", 6 * HOUR_SECONDS)),
    )
}
