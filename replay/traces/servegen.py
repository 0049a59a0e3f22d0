"""ServeGen: real rates and burstiness per client, from which requests are synthesised.

The published m-mid data stand for 2,165 million requests, so a rate is scaled by scaling the
clients' rates before anything is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats, Requests
from replay.traces.clients import MEMBER, Population, read_population
from replay.traces.lengths import PUBLISHED, LengthLaw
from replay.traces.servegen_lengths import ClientLengths
from replay.traces.source import Source
from replay.traces.trace import CHUNK_ROWS, Trace, TraceError

_LENGTHS = "servegen-m-mid"


@dataclass(frozen=True, slots=True)
class ServeGen:
    """A folder or archive with one file of rates per client and, if it is there, one of lengths.

    A window holds as many of a client's requests as its rate says, with Gamma or Weibull gaps of
    the client's own shape. Input and output lengths are drawn independently: ServeGen's own
    sampler uses one random number for both, which makes them perfectly rank-correlated. Clients
    without published lengths (29% of m-mid's load) stay, and borrow the lengths of others.
    """

    name: str = "servegen"
    looks_for: str = "a folder or tar archive of ServeGen's chunk-<client>-trace.csv files"

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the names in the folder or archive."""
        del path
        return any(MEMBER.fullmatch(name) for name in head)

    def trace(self, source: Source) -> Trace:
        """Give the clients' traffic; rates are read now, lengths when first drawn."""
        if source.options.series is not None:
            raise TraceError(f"{source.path}: holds clients, no series {source.options.series!r}")
        population = read_population(source)
        lengths = _lengths(source, population)
        notes = [
            f"synthesised from the real rates of {len(population.clients)} clients",
            f"lengths: {lengths.source}",
        ]
        if population.missing.any():
            notes.append(f"{population.missing.sum()} windows without data filled from other days")
        synthesis = ClientSynthesis(population, lengths, source.options.seed)
        trace = synthesis.trace(source.path.name.split(".")[0], tuple(notes))
        return replace(trace, ledgers=(source.ledger,))


@dataclass(frozen=True, slots=True)
class ClientSynthesis:
    """Requests drawn from a population; `factor` multiplies every client's rate."""

    population: Population
    lengths: ClientLengths | FixedLengths
    seed: int
    factor: float = 1.0

    def chunks(self) -> Iterator[Requests]:
        """Draw the requests window by window; no window's draws depend on another's."""
        for window in range(len(self.population.starts_seconds)):
            random = np.random.default_rng((self.seed, window))
            arrivals, clients = self._arrivals(window, random)
            start = float(self.population.starts_seconds[window])
            inputs, outputs = self.lengths.draw(random, start, clients)
            requests = Requests(arrivals, inputs, outputs, np.zeros(len(arrivals)))
            for row in range(0, len(requests), CHUNK_ROWS):
                yield requests.take(slice(row, row + CHUNK_ROWS))

    def _arrivals(
        self, window: int, random: np.random.Generator
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Draw one window's arrival times, in order, and the place of each one's client.

        A client with n requests gets n + 1 gaps, stretched to fill the window: the count is the
        published one, which an untruncated heavy-tailed renewal process would miss by far.
        """
        people = self.population
        expected = people.per_second[window] * people.window_seconds * self.factor
        counts = np.floor(expected + random.random(len(expected))).astype(np.int64)
        active = np.flatnonzero(counts)
        if not len(active):
            return np.empty(0), active
        gap_counts = counts[active] + 1
        shapes = np.repeat(people.shapes[window, active], gap_counts)
        weibull = np.repeat(people.weibull[window, active], gap_counts)
        gaps = np.where(weibull, random.weibull(shapes), random.standard_gamma(shapes))
        ends = np.cumsum(gap_counts)
        # Every client's gaps sum to 1, so the sum over all passes 1, 2, 3 ... at their ends.
        gaps /= np.repeat(np.add.reduceat(gaps, ends - gap_counts), gap_counts)
        share = np.cumsum(gaps) - np.repeat(np.arange(len(active)), gap_counts)
        inside = np.ones(len(gaps), dtype=np.bool_)
        inside[ends - 1] = False
        share = np.clip(share[inside], 0.0, np.nextafter(1.0, 0.0))
        arrivals = people.starts_seconds[window] + people.window_seconds * share
        order = np.argsort(arrivals, kind="stable")
        return arrivals[order], np.repeat(active, counts[active])[order]

    def trace(self, name: str, notes: tuple[str, ...]) -> Trace:
        """Give the drawn requests as a trace whose rate can be scaled without copies."""

        def at_rate(factor: float) -> Trace:
            scaled = replace(self, factor=self.factor * factor)
            return scaled.trace(name, (*notes, f"clients' rates x {factor:g}"))

        people = self.population
        return Trace(
            name=name,
            format="servegen",
            source=self.chunks,
            notes=notes,
            rescaled=at_rate,
            expected_requests=float(people.per_second.sum()) * people.window_seconds * self.factor,
        )


@dataclass(frozen=True, slots=True)
class FixedLengths:
    """The same lengths law for all clients."""

    law: LengthLaw
    source: str

    def draw(
        self,
        random: np.random.Generator,
        start_seconds: float,
        clients: NDArray[np.int64],
    ) -> tuple[Floats, Floats]:
        """Draw (input tokens, output tokens) of requests in the window from `start_seconds`."""
        return self.law(random, np.full(len(clients), start_seconds))


def _lengths(source: Source, population: Population) -> ClientLengths | FixedLengths:
    if source.options.lengths is not None:
        return FixedLengths(source.options.lengths, "as asked for")
    if measured := ClientLengths.beside(source.path, population):
        return measured
    law = PUBLISHED[_LENGTHS]
    return FixedLengths(law, f"an assumption, {_LENGTHS} ({law.source})")
