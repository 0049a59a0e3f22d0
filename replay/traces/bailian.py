"""Alibaba Bailian (Qwen) traces: JSON lines in seconds, with hashes of 16-token blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from replay.requests import Requests
from replay.traces.lines import read_lines, trace_of_file
from replay.traces.prefix import with_prefix_hits
from replay.traces.records import RecordLayout, head_object
from replay.traces.source import Source
from replay.traces.trace import Trace

_BLOCK_TOKENS = 16


def _chained(ids: Sequence[int], input_tokens: float) -> list[int]:
    """Give each block an id that stands for all of the prompt up to it.

    The file hashes each block's own content, so equal blocks behind unequal beginnings look
    alike. The last, partial block is left out: it changes from turn to turn.
    """
    full = ids[: int(input_tokens) // _BLOCK_TOKENS]
    return list(accumulate(full, lambda prefix, block: hash((prefix, block))))


_LAYOUT = RecordLayout(
    arrival=("timestamp",),
    inputs=("input_length",),
    outputs=("output_length",),
    seconds_per_unit=1.0,
    blocks_of=_chained,
)


@dataclass(frozen=True, slots=True)
class Bailian:
    """Turns of chats; every line holds its full prompt."""

    name: str = "bailian"
    looks_for: str = (
        'JSON lines like {"chat_id": 159, "timestamp": 61.114, "input_length": 521, '
        '"output_length": 132, "hash_ids": [9]} (Bailian; seconds)'
    )

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look for a chat and a length of its prompt."""
        del path
        return {"chat_id", "input_length"} <= head_object(head).keys()

    def trace(self, source: Source) -> Trace:
        """Give the requests, with prefix hits."""
        cache_tokens = source.options.cache_tokens

        def read() -> Iterator[Requests]:
            parsed = read_lines(source, _LAYOUT.parse, header_lines=0, time_field="timestamp")
            return with_prefix_hits(parsed, _BLOCK_TOKENS, cache_tokens)

        note = f"prefix cache of {cache_tokens:,} tokens in blocks of {_BLOCK_TOKENS}"
        return trace_of_file(source, self.name, read, (note,))
