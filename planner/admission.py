"""What a port answers is admitted to a decision only as far as it can be true.

The ports that ship give nothing else. One from outside may give NaN for a rate, text for a count,
or None where a Protocol says there is a value; what is refused becomes unknown, and a sentence says
whose it was, which field, and what would be right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from numbers import Integral, Real
from typing import Any, TypeVar

from planner.ports import WriteFailure
from policies.lengths import Lengths
from policies.types import (
    Decision,
    Observation,
    PerRole,
    Pools,
    PoolState,
    Role,
    Trust,
    Unavailable,
)

T = TypeVar("T")
_NOTHING = Observation(observed_at_seconds=0.0, window_seconds=0.0)
_LENGTHS = frozenset({"input_tokens", "output_tokens"})
_FRACTIONS = frozenset({"kv_usage_fraction", "kv_usage_max_fraction"})
_CONTEXT = frozenset({"observed_at_seconds", "window_seconds", "trust", "problems"})
# Two clocks differ by that much; milliseconds taken for seconds are 50,000 years ahead.
_AHEAD_SECONDS = 60.0


def name_of(port: object) -> str:
    """Module and class of whoever answered, as its author would look for it."""
    kind = type(port)
    return f"{kind.__module__}.{kind.__qualname__}"


def observation(seen: object, source: str, now_seconds: float) -> Observation:
    """The observation, with what cannot be true taken for unknown and named as a problem."""
    nothing = replace(_NOTHING, observed_at_seconds=now_seconds, trust=Trust.NONE)
    if not isinstance(seen, Observation):
        why = f"metrics: {source} gives {_shown(seen)}; an Observation is wanted"
        return replace(nothing, problems=(why,))
    if wrong := list(_untimely(seen, now_seconds)):
        return replace(nothing, problems=_named("metrics", source, wrong))
    kept = {
        one.name: _truth(getattr(seen, one.name), getattr(_NOTHING, one.name), one.name, wrong)
        for one in fields(_NOTHING)
        if one.name not in _CONTEXT
    }
    kept |= _words(seen, wrong)
    if not wrong:
        return seen
    if kept["requests_per_second"] is None:
        kept["trust"] = Trust.NONE
    elif kept["trust"] is Trust.FULL:
        kept["trust"] = Trust.SCALE_OUT_ONLY
    kept["problems"] += _named("metrics", source, wrong)
    return replace(seen, **kept)


def _untimely(seen: Observation, now_seconds: float) -> Iterator[str]:
    """What is wrong with its times; without them nothing in it can be placed."""
    at_seconds, window_seconds = seen.observed_at_seconds, seen.window_seconds
    if not _is_number(at_seconds, least=-math.inf):
        yield f"observed_at_seconds is {_shown(at_seconds)}; a time in seconds is wanted"
    elif at_seconds > now_seconds + _AHEAD_SECONDS:
        yield f"observed_at_seconds is {at_seconds:.0f}, and now is {now_seconds:.0f}"
    if not _is_number(window_seconds):
        yield f"window_seconds is {_shown(window_seconds)}; a time in seconds is wanted"


def _words(seen: Any, wrong: list[str]) -> dict[str, Any]:  # noqa: ANN401 - fields of any type
    """How far it says that it may be followed, and why."""
    trust, problems = seen.trust, seen.problems
    if not isinstance(trust, Trust):
        wrong.append(f"trust is {_shown(trust)}; a Trust is wanted")
        trust = Trust.SCALE_OUT_ONLY
    if not (isinstance(problems, tuple) and all(isinstance(one, str) for one in problems)):
        wrong.append(f"problems is {_shown(problems)}; a tuple of sentences is wanted")
        problems = ()
    return {"trust": trust, "problems": problems}


def pools(found: object, source: str) -> Pools:
    """Both pools; one that cannot be true is unavailable."""
    if not isinstance(found, PerRole):
        why = f"workload: {source} gives {_shown(found)}; a PerRole of both pools is wanted"
        return PerRole.of(lambda _: Unavailable(why))
    return PerRole.of(lambda role: _pool(found[role], role, source))


def failures(answer: object, source: str) -> tuple[WriteFailure, ...]:
    """What could not be written; an answer that tells nothing is a failure of both."""
    if isinstance(answer, tuple) and all(isinstance(one, WriteFailure) for one in answer):
        return answer
    why = f"scale: {source} gives {_shown(answer)}; a tuple of WriteFailure is wanted"
    return tuple(WriteFailure(role, why) for role in Role)


def decided(decision: Decision, engine: str) -> Decision:
    """The decision; ValueError where its sizes are none."""
    for name in ("current", "target"):
        sizes = getattr(decision, name)
        if sizes is not None and not (
            isinstance(sizes, PerRole) and all(_is_count(size) for size in sizes)
        ):
            raise ValueError(f"{engine}: {name} is {_shown(sizes)}; whole replicas are wanted")
    return decision


def _pool(found: object, role: Role, source: str) -> PoolState | Unavailable:
    if isinstance(found, Unavailable):
        return found
    if not isinstance(found, PoolState):
        return Unavailable(f"workload: {source} gives {_shown(found)} for {role}")
    wrong = tuple(_untrue(found))
    return Unavailable(_named("workload", f"{source}, {role}", wrong)[0]) if wrong else found


def _untrue(pool: PoolState) -> Iterator[str]:
    counts = ("desired", "ready", "draining", "stuck", "floor")
    for name in (*(f"{count}_replicas" for count in counts), "pods_per_replica"):
        if not _is_count(value := getattr(pool, name)):
            yield f"{name} is {_shown(value)}; a whole number of at least 0 is wanted"
    if pool.gpus_per_replica is not None and not _is_count(pool.gpus_per_replica):
        yield f"gpus_per_replica is {_shown(pool.gpus_per_replica)}; a whole number is wanted"
    if pool.startup_seconds_p90 is not None and not _is_number(pool.startup_seconds_p90):
        yield f"startup_seconds_p90 is {_shown(pool.startup_seconds_p90)}; seconds are wanted"
    ages: object = pool.starting_ages_seconds
    if not (isinstance(ages, tuple) and all(_is_number(age) for age in ages)):
        yield f"starting_ages_seconds is {_shown(ages)}; a tuple of seconds is wanted"


def _truth(value: Any, unknown: Any, path: str, wrong: list[str]) -> Any:  # noqa: ANN401 - any field
    """The value, or what stands for it where nothing is known; `unknown` is of its shape."""
    if is_dataclass(unknown) and not isinstance(unknown, type):
        if type(value) is not type(unknown):
            wrong.append(f"{path} is {_shown(value)}; a {type(unknown).__name__} is wanted")
            return unknown
        parts = {
            one.name: _truth(
                getattr(value, one.name), getattr(unknown, one.name), f"{path}.{one.name}", wrong
            )
            for one in fields(unknown)
        }
        return replace(value, **parts)
    fits, wanted = _expected(path)
    if value is None or fits(value):
        return value
    wrong.append(f"{path} is {_shown(value)}; {wanted}, or None, is wanted")
    return None


def _expected(path: str) -> tuple[Callable[[object], bool], str]:
    """What may stand in a field, and how to say so."""
    if path in _LENGTHS:
        return _is_lengths, "Lengths of finite tokens"
    if path in _FRACTIONS:
        return _is_fraction, "a fraction between 0 and 1"
    return _is_number, "a number of at least 0"


def _is_number(value: Any, least: float = 0.0) -> bool:  # noqa: ANN401 - it is asked
    """Whether arithmetic may go on with it; 10**400 is finite, and no float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return False
    return math.isfinite(number) and number >= least


def _is_fraction(value: Any) -> bool:  # noqa: ANN401 - see above
    return _is_number(value) and bool(value <= 1)


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and _is_number(value)


def _is_lengths(value: object) -> bool:
    """Lengths check themselves when they are made, but NaN passes every comparison."""
    return isinstance(value, Lengths) and all(
        _is_number(one) for one in (*value.tokens, *value.weights)
    )


def _named(port: str, source: str, wrong: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (f"{port}: of {source}, {'; '.join(wrong)}; taken for unknown",)


def _shown(value: object) -> str:
    """A value as its author would know it; one that cannot even be shown, by its type."""
    try:
        return repr(value)[:80]
    except Exception:  # noqa: BLE001 - the author's own code, and only words are at stake
        return f"a {type(value).__name__}"
