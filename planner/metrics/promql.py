"""Evaluates the part of PromQL that presets use, on a short history, as Prometheus would.

Parsed by promql-parser. What is not implemented raises `Unsupported` whatever the data, so that a
query can be tried on an empty history when the configuration is read.
"""

from __future__ import annotations

import itertools
import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import promql_parser as parser

from planner.metrics.history import History, Labels, Point

Series = dict[Labels, float]
Value = Series | float

_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else math.copysign(math.inf, a) if a else math.nan,
}
_COMPARISON: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_AGGREGATION: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "avg": lambda values: sum(values) / len(values),
    "max": max,
    "min": min,
    "count": len,
}
_GROUPING = (
    parser.VectorMatchCardinality.ManyToOne,
    parser.VectorMatchCardinality.OneToMany,
)


class Unsupported(ValueError):  # noqa: N818 - a property of the query
    """The query needs a part of PromQL that only a Prometheus server has."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Evaluates expressions on `history` as of `at_seconds`."""

    history: History
    at_seconds: float

    def value(self, node: object) -> Value:
        """Value of an expression: a number, or series by labels without the metric name."""
        match node:
            case parser.NumberLiteral():
                return float(node.val)
            case parser.ParenExpr():
                return self.value(node.expr)
            case parser.VectorSelector():
                return {labels: value for labels, (_, value) in self._latest(node)}
            case parser.AggregateExpr():
                return self._aggregate(node)
            case parser.Call():
                return self._call(node)
            case parser.BinaryExpr():
                return self._binary(node)
        raise Unsupported(f"{type(node).__name__} needs a Prometheus server")

    def _latest(self, node: parser.VectorSelector) -> Iterable[tuple[Labels, Point]]:
        name, keep = _selector(node)
        return self.history.latest(name, keep, self.at_seconds)

    def _aggregate(self, node: parser.AggregateExpr) -> Series:
        reduce = _AGGREGATION.get(str(node.op))
        if reduce is None:
            raise Unsupported(f"{node.op}() needs a Prometheus server")
        groups: dict[Labels, list[float]] = defaultdict(list)
        for labels, value in self._series(node.expr).items():
            groups[_grouped(labels, node.modifier)].append(value)
        return {labels: float(reduce(values)) for labels, values in groups.items()}

    def _series(self, node: object) -> Series:
        value = self.value(node)
        if isinstance(value, float):
            raise Unsupported("a number stands where series are needed")
        return value

    def _call(self, node: parser.Call) -> Value:
        name, arguments = node.func.name, node.args
        match name:
            case "time":
                return float(self.at_seconds)
            case "clamp_min" | "clamp_max":
                return self._clamped(max if name == "clamp_min" else min, arguments)
            case "vector":
                value = self.value(arguments[0])
                return {frozenset(): value} if isinstance(value, float) else value
            case "timestamp" if isinstance(arguments[0], parser.VectorSelector):
                return {labels: seconds for labels, (seconds, _) in self._latest(arguments[0])}
            case "rate" | "increase" | "deriv":
                return self._over_time(name, arguments[0])
        raise Unsupported(f"{name}() needs a Prometheus server")

    def _clamped(self, bound: Callable[[float, float], float], arguments: list[object]) -> Series:
        limit = self.value(arguments[1])
        if not isinstance(limit, float):
            raise Unsupported("a limit that is no number needs a Prometheus server")
        return {labels: bound(value, limit) for labels, value in self._series(arguments[0]).items()}

    def _over_time(self, name: str, node: parser.MatrixSelector) -> Series:
        window = node.range.total_seconds()
        start = self.at_seconds - window
        selected, keep = _selector(node.vector_selector)
        result = {}
        for labels, points in self.history.within(selected, keep, start, self.at_seconds):
            if len(points) < 2:
                continue
            if name == "deriv":
                result[labels] = slope(points)
            else:
                growth = increase(points, start, self.at_seconds)
                result[labels] = growth / window if name == "rate" else growth
        return result

    def points(self, node: parser.MatrixSelector) -> list[list[Point]]:
        """The samples of a range selector, by series."""
        start = self.at_seconds - node.range.total_seconds()
        name, keep = _selector(node.vector_selector)
        return [points for _, points in self.history.within(name, keep, start, self.at_seconds)]

    def _binary(self, node: parser.BinaryExpr) -> Value:
        left, right, symbol = self.value(node.lhs), self.value(node.rhs), str(node.op)
        modifier = node.modifier
        if modifier is not None and (modifier.return_bool or modifier.card in _GROUPING):
            raise Unsupported(f"bool or group modifiers of {symbol} need a Prometheus server")
        if isinstance(left, float):
            if isinstance(right, float):
                return _arithmetic(symbol)(left, right)
            return _with_number(symbol, right, lambda value: (left, value))
        if isinstance(right, float):
            return _with_number(symbol, left, lambda value: (value, right))
        return _matched(symbol, left, right, _matching(modifier))


def metrics_of(node: object) -> Iterator[str]:
    """Names of the metrics that an expression reads."""
    match node:
        case parser.VectorSelector() if node.name:
            yield node.name
        case parser.MatrixSelector():
            yield from metrics_of(node.vector_selector)
        case parser.ParenExpr() | parser.AggregateExpr():
            yield from metrics_of(node.expr)
        case parser.Call():
            for argument in node.args:
                yield from metrics_of(argument)
        case parser.BinaryExpr():
            yield from metrics_of(node.lhs)
            yield from metrics_of(node.rhs)


def _selector(node: parser.VectorSelector) -> tuple[str, Callable[[Labels], bool]]:
    if node.name is None or node.offset is not None or node.at is not None:
        raise Unsupported("a selector without a name, with offset or @ needs a Prometheus server")
    tests = [_test(matcher) for matcher in node.matchers.matchers]

    def keep(labels: Labels) -> bool:
        found = dict(labels)
        return all(test(found) for test in tests)

    return node.name, keep


def _test(matcher: parser.Matcher) -> Callable[[dict[str, str]], bool]:
    name, wanted = matcher.name, matcher.value
    if matcher.op == parser.MatchOp.Equal:
        return lambda labels: labels.get(name, "") == wanted
    if matcher.op == parser.MatchOp.NotEqual:
        return lambda labels: labels.get(name, "") != wanted
    try:
        pattern = re.compile(wanted)
    except re.error as error:
        raise Unsupported(f"the regular expression {wanted!r} cannot be used: {error}") from error
    if matcher.op == parser.MatchOp.Re:
        return lambda labels: pattern.fullmatch(labels.get(name, "")) is not None
    return lambda labels: pattern.fullmatch(labels.get(name, "")) is None


def _grouped(labels: Labels, modifier: parser.AggModifier | None) -> Labels:
    if modifier is None:
        return frozenset()
    named = set(modifier.labels)
    by = modifier.type == parser.AggModifierType.By
    return frozenset(pair for pair in labels if (pair[0] in named) == by)


def _matching(modifier: parser.BinModifier | None) -> Callable[[Labels], Labels]:
    """Labels by which two sides are matched."""
    if modifier is None or modifier.matching is None:
        return lambda labels: labels
    named = set(modifier.matching.labels)
    on = modifier.matching.type == parser.LabelModifierType.Include
    return lambda labels: frozenset(pair for pair in labels if (pair[0] in named) == on)


def _arithmetic(symbol: str) -> Callable[[float, float], float]:
    if symbol not in _ARITHMETIC:
        raise Unsupported(f"{symbol} here needs a Prometheus server")
    return _ARITHMETIC[symbol]


def _with_number(
    symbol: str, series: Series, sides: Callable[[float], tuple[float, float]]
) -> Series:
    """Series with a number: arithmetic changes each value, a comparison keeps those that meet."""
    if symbol in _COMPARISON:
        compare = _COMPARISON[symbol]
        return {labels: value for labels, value in series.items() if compare(*sides(value))}
    change = _arithmetic(symbol)
    return {labels: change(*sides(value)) for labels, value in series.items()}


def _matched(symbol: str, left: Series, right: Series, key: Callable[[Labels], Labels]) -> Series:
    mine = {key(labels) for labels in left}
    others = {key(labels): value for labels, value in right.items()}
    match symbol:
        case "or":
            return left | {labels: v for labels, v in right.items() if key(labels) not in mine}
        case "and":
            return {labels: value for labels, value in left.items() if key(labels) in others}
        case "unless":
            return {labels: value for labels, value in left.items() if key(labels) not in others}
    pairs = [
        (labels, value, others[key(labels)])
        for labels, value in left.items()
        if key(labels) in others
    ]
    if symbol in _COMPARISON:
        return {labels: a for labels, a, b in pairs if _COMPARISON[symbol](a, b)}
    change = _arithmetic(symbol)
    return {key(labels): change(a, b) for labels, a, b in pairs}


def increase(points: list[Point], start_seconds: float, end_seconds: float) -> float:
    """Growth of a counter over a window, extrapolated to its ends as Prometheus does.

    A fall is a restart: after 90, 100, 5 the counter grew by 15. The ends are reached only if the
    samples come near them, and never to before the counter would have been zero.
    """
    (first_at, first), (last_at, last) = points[0], points[-1]
    restarts = sum(a for (_, a), (_, b) in itertools.pairwise(points) if b < a)
    growth = last - first + restarts
    covered = last_at - first_at
    between = covered / (len(points) - 1)
    before, after = first_at - start_seconds, end_seconds - last_at
    if growth > 0 and first >= 0:
        before = min(before, covered * first / growth)
    reach = sum(gap if gap < 1.1 * between else between / 2 for gap in (before, after))
    return growth * (covered + reach) / covered


def slope(points: list[Point]) -> float:
    """Growth per second of a gauge, by least squares."""
    mean_at = sum(at for at, _ in points) / len(points)
    mean_value = sum(value for _, value in points) / len(points)
    spread = sum((at - mean_at) ** 2 for at, _ in points)
    return sum((at - mean_at) * (value - mean_value) for at, value in points) / spread
