"""Prompts as blocks of tokens, and how much of each a prefix cache would hold already."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from replay.requests import Floats, Requests


@dataclass(frozen=True, slots=True)
class BlockedRequests:
    """Requests with the ids of their prompts' blocks; an id stands for a whole prefix."""

    requests: Requests
    blocks: tuple[Sequence[int], ...]

    @property
    def arrival_seconds(self) -> Floats:
        """When each request arrives."""
        return self.requests.arrival_seconds

    def take(self, rows: Any) -> BlockedRequests:  # noqa: ANN401 - whatever numpy indexes with
        """Select rows."""
        chosen = np.arange(len(self.blocks))[rows]
        return BlockedRequests(self.requests.take(rows), tuple(self.blocks[row] for row in chosen))

    @classmethod
    def concat(cls, parts: Sequence[BlockedRequests]) -> BlockedRequests:
        """Join parts that follow each other."""
        return cls(
            Requests.concat(part.requests for part in parts),
            tuple(blocks for part in parts for blocks in part.blocks),
        )


class PrefixCache:
    """The blocks held for reuse, least recently used ones dropped first.

    One cache for the whole fleet that every request may use from its arrival: what a router that
    always finds the right replica would reach, so an upper bound for real ones.
    """

    def __init__(self, capacity_blocks: int) -> None:
        self._capacity = capacity_blocks
        self._held: OrderedDict[int, None] = OrderedDict()

    def reuse(self, blocks: Sequence[int]) -> int:
        """Count the leading blocks that are held, then hold them all."""
        hits = 0
        for block in blocks:
            if block not in self._held:
                break
            hits += 1
        # From the last block to the first, so that a prefix outlives what builds on it.
        for block in reversed(blocks):
            self._held[block] = None
            self._held.move_to_end(block)
        while len(self._held) > self._capacity:
            self._held.popitem(last=False)
        return hits


def with_prefix_hits(
    stream: Iterator[BlockedRequests], block_tokens: int, cache_tokens: int
) -> Iterator[Requests]:
    """Turn block ids into cached tokens; the last token of a prompt is always computed."""
    cache = PrefixCache(cache_tokens // block_tokens)
    for part in stream:
        requests = part.requests
        hits = np.array([cache.reuse(blocks) for blocks in part.blocks], dtype=np.float64)
        most = np.maximum(requests.input_tokens - 1, 0)
        yield replace(requests, cached_tokens=np.minimum(hits * block_tokens, most))
