"""Mooncake traces, and the JSON Lines that AIPerf and Dynamo replay in the same form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from replay.requests import Floats, Requests
from replay.traces.lines import read_lines, trace_of_file
from replay.traces.prefix import with_prefix_hits
from replay.traces.records import HASH_IDS, RecordLayout, head_object
from replay.traces.source import Source
from replay.traces.trace import Trace

_LAYOUT = RecordLayout(
    arrival=("timestamp", "created_time"),
    inputs=("input_length", "input_tokens"),
    outputs=("output_length", "output_tokens"),
    seconds_per_unit=1e-3,
    blocks_of=lambda ids, _inputs: ids,
)
_BLOCK_TOKENS = 512
_OTHER_BLOCK_TOKENS = (1024, 256, 128, 64, 32, 16)


@dataclass(frozen=True, slots=True)
class Mooncake:
    """Times in milliseconds; hash ids are global in the file and name whole prefixes."""

    name: str = "mooncake"
    looks_for: str = (
        'JSON lines like {"timestamp": 0, "input_length": 6758, "output_length": 500, '
        '"hash_ids": [0, 1]} (Mooncake, AIPerf, Dynamo; milliseconds)'
    )

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look for a length of the input, and no key of the formats that count in seconds."""
        del path
        keys = head_object(head).keys()
        return not keys.isdisjoint(_LAYOUT.inputs) and "chat_id" not in keys

    def trace(self, source: Source) -> Trace:
        """Give the requests, with prefix hits; times that come in ticks are spread over them."""
        block_tokens = block_tokens_of(source.head)
        cache_tokens = source.options.cache_tokens

        def read() -> Iterator[Requests]:
            parsed = read_lines(source, _LAYOUT.parse, header_lines=0, time_field="timestamp")
            requests = with_prefix_hits(parsed, block_tokens, cache_tokens)
            return spread_ticks(requests, source.options.seed)

        notes = (
            f"prefix cache of {cache_tokens:,} tokens in blocks of {block_tokens}",
            "times that come in ticks are spread over the ticks",
        )
        return trace_of_file(source, self.name, read, notes)


def block_tokens_of(head: Sequence[str]) -> int:
    """Infer the block size: the one at which every prompt has ceil(input / size) ids, else 512."""
    prompts = []
    for line in head:
        record = head_object([line])
        tokens = next((record[name] for name in _LAYOUT.inputs if name in record), None)
        ids = record.get(HASH_IDS)
        if isinstance(tokens, int) and isinstance(ids, list) and ids:
            prompts.append((tokens, len(ids)))
    for size in (_BLOCK_TOKENS, *_OTHER_BLOCK_TOKENS):
        if prompts and all(-(-tokens // size) == ids for tokens, ids in prompts):
            return size
    return _BLOCK_TOKENS


def spread_ticks(stream: Iterator[Requests], seed: int) -> Iterator[Requests]:
    """Spread requests that share an instant evenly at random over the time to the next one.

    Only where at least half of the first chunk's requests share their instant with another: such
    a clock ticks slower than the traffic, and its ticks would look like bursts. Mooncake's ticks
    every 3 seconds, with up to 28 requests each.
    """
    random = np.random.default_rng(seed)
    tick_seconds: float | None = None
    held = Requests.concat(())
    for chunk in stream:
        if tick_seconds is None:
            tick_seconds = _tick_of(chunk.arrival_seconds)
        if tick_seconds == 0:
            yield chunk
            continue
        joined = Requests.concat((held, chunk))
        # The last instant may go on in the next chunk.
        complete = int(np.searchsorted(joined.arrival_seconds, joined.arrival_seconds[-1]))
        held = joined.take(slice(complete, None))
        if complete:
            until = float(held.arrival_seconds[0])
            yield _spread(joined.take(slice(0, complete)), until, tick_seconds, random)
    if len(held) and tick_seconds:
        yield _spread(held, math.inf, tick_seconds, random)


def _tick_of(arrivals: Floats) -> float:
    """The usual time between instants; 0 when requests mostly have an instant of their own."""
    instants, counts = np.unique(arrivals, return_counts=True)
    if len(instants) < 2 or counts[counts > 1].sum() < len(arrivals) / 2:
        return 0.0
    return float(median(np.diff(instants)))


def _spread(
    requests: Requests, until: float, tick_seconds: float, random: np.random.Generator
) -> Requests:
    """Move each request within its tick; within an instant they keep their order."""
    instants, which = np.unique(requests.arrival_seconds, return_inverse=True)
    lengths = np.minimum(np.diff(np.append(instants, until)), tick_seconds)
    moved = requests.arrival_seconds + random.random(len(requests)) * lengths[which]
    return Requests(
        np.sort(moved), requests.input_tokens, requests.output_tokens, requests.cached_tokens
    )
