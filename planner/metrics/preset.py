"""What to ask of one serving stack, as data: signals, their queries, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template

from planner.metrics.signals import SIGNALS

# What a query may refer to. `where` is a list of label matchers with a trailing comma, possibly
# empty; the others stand between the quotes of one matcher. `models` and `dynamo_namespace` are
# regular expressions. `span` is the time over which samples themselves are asked for: six windows.
PLACEHOLDERS = frozenset(
    {
        "where",
        "model",
        "models",
        "window",
        "span",
        "prefill_pods",
        "decode_pods",
        "dynamo_namespace",
    }
)


@dataclass(frozen=True, slots=True)
class Signal:
    """One quantity, asked for by `queries` in order: the first that answers counts.

    `excludes` says what the number leaves out, `since` the first version of the stack with it,
    where that is later than the preset's own.
    """

    queries: tuple[str, ...]
    meaning: str
    excludes: str = ""
    since: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A metric that tells some `versions` of a program from the others."""

    versions: str
    query: str


@dataclass(frozen=True, slots=True)
class Preset:
    """The signals of one stack, from its version `since` on.

    A signal without an entry is one that the stack does not have: it is never asked for and never
    missed. `marks` tell the versions of each program of the stack apart, newest first;
    `models` asks for the names of the models that are served, as values of one label.
    """

    name: str
    stack: str
    signals: Mapping[str, Signal]
    since: str = ""
    marks: Mapping[str, tuple[Mark, ...]] = field(default_factory=dict)
    models: str = ""

    def __post_init__(self) -> None:
        for name, signal in self.signals.items():
            if name not in SIGNALS:
                raise ValueError(
                    f"preset {self.name}: no signal is called {name!r}; "
                    f"there are {', '.join(SIGNALS)}"
                )
            if not signal.queries:
                raise ValueError(f"preset {self.name}: signal {name} has no query")
            for query in signal.queries:
                _check_placeholders(f"preset {self.name}: signal {name}", query)
        _check_placeholders(f"preset {self.name}: models", self.models)
        for program, marks in self.marks.items():
            for mark in marks:
                _check_placeholders(f"preset {self.name}: marks of {program}", mark.query)

    def since_of(self, name: str) -> str:
        """The first version of the stack that reports a signal."""
        return self.signals[name].since or self.since


def _check_placeholders(where: str, query: str) -> None:
    template = Template(query)
    if not template.is_valid():
        raise ValueError(f"{where}: a lone $ in {query!r}; write $$ for a dollar sign")
    if unknown := set(template.get_identifiers()) - PLACEHOLDERS:
        known = ", ".join(f"${name}" for name in sorted(PLACEHOLDERS))
        raise ValueError(f"{where}: unknown ${', $'.join(sorted(unknown))}; there are {known}")


def quoted(text: str) -> str:
    r"""Escape for use between double quotes in PromQL: the regex `a\.b` becomes `a\\.b`."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which series to read: the values of the placeholders. Pods are RE2 regular expressions."""

    labels: Mapping[str, str]
    model: str
    window_seconds: float
    prefill_pods: str
    decode_pods: str
    dynamo_namespace: str | None = None

    @property
    def span_seconds(self) -> float:
        """Six windows: of the planner's own reads, two in a window, just enough for an estimate."""
        return 6 * self.window_seconds

    def fill(self, query: str) -> str:
        """Substitute every placeholder of `query`, escaped for its place."""
        # Some releases of Dynamo write the model's name in lower case, others as it is.
        spellings = dict.fromkeys(map(re.escape, (self.model, self.model.lower())))
        # Dynamo writes its namespace with underscores in labels.
        served = (self.dynamo_namespace or "").replace("-", "_")
        return Template(query).substitute(
            where="".join(f'{name}="{quoted(value)}",' for name, value in self.labels.items()),
            model=quoted(self.model),
            models=quoted("|".join(spellings)),
            window=f"{round(self.window_seconds * 1000)}ms",
            span=f"{round(self.span_seconds * 1000)}ms",
            prefill_pods=quoted(self.prefill_pods),
            decode_pods=quoted(self.decode_pods),
            dynamo_namespace=quoted(re.escape(served) or ".*"),
        )
