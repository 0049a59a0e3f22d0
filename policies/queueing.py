"""Waiting times of a pool, as tails: closed forms, checked against theory in the tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from scipy.special.cython_special import betainc, gammaincc  # of one number, not of arrays

_NEVER = 1e-9


def erlang_c(servers: int, offered_erlangs: float) -> float:
    """Probability that an arrival waits in M/M/c; 1 when the offered load is not below `servers`.

    Erlang B in closed form is Poisson(c; a) over its cumulative, which is a regularised incomplete
    gamma function; C follows from B. Example: 2 servers at 1 Erlang wait with probability 1/3.
    """
    if offered_erlangs >= servers:
        return 1.0
    if offered_erlangs <= 0.0:
        return 0.0
    if servers == 1:
        return offered_erlangs
    pmf = math.exp(servers * math.log(offered_erlangs) - offered_erlangs - math.lgamma(servers + 1))
    blocking = pmf / float(gammaincc(servers + 1.0, offered_erlangs))
    utilisation = offered_erlangs / servers
    return blocking / (1.0 - utilisation * (1.0 - blocking))


class Wait(NamedTuple):
    """A waiting time that is zero, or `least_seconds` plus an exponential.

    P(W > t) = probability * exp(-rate * (t - least)) from `least_seconds` on.
    """

    probability: float
    rate_per_second: float
    least_seconds: float = 0.0

    @property
    def endless(self) -> bool:
        """Whether the stage is overloaded, so that its wait has no stationary law."""
        return self.rate_per_second <= 0.0

    @property
    def mean_seconds(self) -> float:
        """E[W]; infinite for an overloaded stage."""
        if self.endless:
            return math.inf
        return self.probability * (self.least_seconds + 1.0 / self.rate_per_second)

    def within(self, other: Wait) -> bool:
        """Whether this wait is no longer than another one with any probability.

        It is where it is no more probable, begins no later and ends no more slowly.
        """
        return (
            self.probability <= other.probability
            and self.least_seconds <= other.least_seconds
            and self.rate_per_second >= other.rate_per_second
        )

    def tail(self, seconds: float) -> float:
        """P(W > seconds)."""
        if seconds < 0.0:
            return 1.0
        beyond = seconds - self.least_seconds
        if beyond <= 0.0:
            return self.probability
        return self.probability * math.exp(-self.rate_per_second * beyond)

    def after(self, other: Wait) -> Callable[[float], float]:
        """P(this wait + an independent other one > seconds); the other has no least time.

        Two exponentials of rates a and b in sequence last longer than t with probability
        (b exp(-a t) - a exp(-b t)) / (b - a).
        """
        if other.probability < _NEVER:
            return self.tail
        a, b, least_seconds = self.rate_per_second, other.rate_per_second, self.least_seconds
        if self.endless or other.endless:
            return lambda seconds: max(self.tail(seconds), other.tail(seconds))
        this, that = self.probability, other.probability
        both, only_this, only_that = this * that, this * (1.0 - that), (1.0 - this) * that
        if math.isclose(a, b, rel_tol=1e-6):
            # The form above divides by b - a; two equal rates give (1 + a t) exp(-a t).
            rate = (a + b) / 2

            def alike(seconds: float) -> float:
                if seconds < 0.0:
                    return 1.0
                beyond = max(seconds - least_seconds, 0.0)
                in_sequence = both * (1.0 + rate * beyond) * math.exp(-rate * beyond)
                alone = only_this * math.exp(-a * beyond) + only_that * math.exp(-b * seconds)
                return in_sequence + alone

            return alike
        both /= b - a
        this = only_this + both * b  # all that is in proportion to exp(-a t)

        def late(seconds: float) -> float:
            if seconds < 0.0:
                return 1.0
            beyond = max(seconds - least_seconds, 0.0)
            in_sequence = this * math.exp(-a * beyond) - both * a * math.exp(-b * beyond)
            return only_that * math.exp(-b * seconds) + in_sequence

        return late


NO_WAIT = Wait(0.0, 1.0)
ENDLESS_WAIT = Wait(1.0, 0.0)


def wait_of_pool(
    servers: int,
    offered_erlangs: float,
    service_seconds: float,
    arrival_cv2: float,
    service_cv2: float,
) -> Wait:
    """Wait in front of `servers` that share one queue (G/G/c after Allen and Cunneen).

    The mean is C(c, a) * E[S] / (c - a) * (Ca^2 + Cs^2) / 2; an exponential conditional wait of
    that mean gives the tail. Exact for M/M/c.
    """
    if offered_erlangs >= servers:
        return ENDLESS_WAIT
    if offered_erlangs <= 0.0 or service_seconds <= 0.0:
        return NO_WAIT
    variability = max((arrival_cv2 + service_cv2) / 2, 1e-3)
    return Wait(
        erlang_c(servers, offered_erlangs),
        (servers - offered_erlangs) / (variability * service_seconds),
    )


def batch_at_most(limit: float, shape: float, utilisation: float) -> float:
    """P(N <= limit) for the number of sequences N in a pool of continuous-batching decoders.

    A pool of n replicas whose iteration takes alpha + c*(N/n) serves N sequences at total rate
    N / (o * (alpha + c*N/n)) requests per second (o output tokens each). Its stationary law under
    Poisson arrivals is proportional to prod_k (n*alpha/c + k)/k * u^k with u = c * tokens/s / n: a
    negative binomial of shape 1 + n*alpha/c, insensitive to the length distribution, because the
    batch shares the replica equally (processor sharing).
    """
    if limit < 0:
        return 0.0
    if utilisation <= 0.0:
        return 1.0
    if utilisation >= 1.0:
        return 0.0
    return float(betainc(shape, math.floor(limit) + 1.0, 1.0 - utilisation))
