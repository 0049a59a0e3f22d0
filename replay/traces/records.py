"""JSON Lines traces: one JSON object per request."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from replay.requests import Requests
from replay.traces.columns import MOST_COUNT, TOKENS
from replay.traces.lines import Malformed
from replay.traces.prefix import BlockedRequests

HASH_IDS = "hash_ids"
_LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLayout:
    """Which keys hold what; a field may go by several names, the first one found counts.

    `blocks_of` turns the hash ids of a prompt of so many tokens into ids of its prefixes.
    """

    arrival: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds_per_unit: float
    blocks_of: Callable[[list[int], float], Sequence[int]]

    def parse(self, lines: Sequence[str]) -> BlockedRequests:
        """Read all lines; Malformed says why one cannot be read."""
        rows, blocks = [], []
        for line in lines:
            record = parse_object(line)
            arrival = _number(record, self.arrival) * self.seconds_per_unit
            inputs, outputs = _tokens(record, self.inputs), _tokens(record, self.outputs)
            rows.append((arrival, inputs, outputs, 0.0))
            blocks.append(self.blocks_of(_ids(record), inputs))
        return BlockedRequests(Requests(*np.array(rows).T), tuple(blocks))


def parse_object(line: str) -> dict[str, Any]:
    """Read one JSON object."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(None, f"not JSON: {error}", "one JSON object per line") from error
    if not isinstance(record, dict):
        raise Malformed(None, f"a JSON {type(record).__name__}", "a JSON object")
    return record


def head_object(head: Sequence[str]) -> dict[str, Any]:
    """Read the first line of a file as JSON object; empty when it is none."""
    try:
        return parse_object(head[0])
    except Malformed:
        return {}


def _number(record: Mapping[str, Any], names: Sequence[str]) -> float:
    for name in names:
        if name in record:
            value = record[name]
            if type(value) not in {int, float} or not -_LARGEST < value < _LARGEST:
                raise Malformed(name, repr(value)[:40], "a number")
            return float(value)
    raise Malformed(names[0], "missing", " or ".join(names))


def _tokens(record: Mapping[str, Any], names: Sequence[str]) -> float:
    tokens = _number(record, names)
    if not TOKENS.least <= tokens <= MOST_COUNT or tokens != math.floor(tokens):
        name = next(name for name in names if name in record)
        raise Malformed(name, f"{record[name]!r}", TOKENS.right)
    return tokens


def _ids(record: Mapping[str, Any]) -> list[int]:
    ids = record.get(HASH_IDS) or []
    if not isinstance(ids, list) or not all(type(block) is int for block in ids):
        raise Malformed(HASH_IDS, repr(ids)[:40], "a list of whole numbers")
    return ids
