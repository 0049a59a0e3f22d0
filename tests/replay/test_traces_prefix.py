"""Traces with prompt blocks: Mooncake, AIPerf, Dynamo, Bailian. Each trap is a test."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.requests import Requests
from replay.traces import Trace, TraceError, open_trace
from replay.traces.mooncake import spread_ticks
from replay.traces.prefix import PrefixCache
from replay.traces.source import Options


def whole(trace: Trace) -> Requests:
    return Requests.concat(trace.chunks())


def trace_of(folder: Path, *records: dict[str, Any], **options: Any) -> Trace:
    path = folder / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return open_trace(path, options=Options(**options))


def mooncake(timestamp: float, inputs: int, ids: list[int] | None = None) -> dict[str, Any]:
    blocks = {} if ids is None else {"hash_ids": ids}
    return {"timestamp": timestamp, "input_length": inputs, "output_length": 5, **blocks}


def bailian(timestamp: float, inputs: int, ids: list[int]) -> dict[str, Any]:
    return {"chat_id": 1, "parent_chat_id": -1, "turn": 1, "type": "text"} | mooncake(
        timestamp, inputs, ids
    )


def test_mooncake_counts_in_milliseconds_and_bailian_in_seconds(tmp_path: Path) -> None:
    one = trace_of(tmp_path, mooncake(500, 10), mooncake(2500, 10))
    assert one.format == "mooncake"
    assert whole(one).arrival_seconds.tolist() == [0, 2.0]
    other = trace_of(tmp_path, bailian(0.5, 10, []), bailian(2.5, 10, []))
    assert other.format == "bailian"
    assert whole(other).arrival_seconds.tolist() == [0, 2.0]


def test_ticks_are_spread_so_that_they_are_no_bursts(tmp_path: Path) -> None:
    ticks = [mooncake(3000 * tick, 100 + row) for tick in range(50) for row in range(20)]
    requests = whole(trace_of(tmp_path, *ticks, seed=1))
    gaps = np.diff(requests.arrival_seconds)
    assert (gaps > 0).all()
    assert gaps.max() < 2
    assert 0.8 < gaps.std() / gaps.mean() < 1.2, "as of independent arrivals"
    assert requests.input_tokens.tolist() == [r["input_length"] for r in ticks], "order is kept"
    per_tick = np.bincount(((requests.arrival_seconds + 0.5) / 3).astype(int))
    assert abs(per_tick[1:-1].mean() - 20) < 1, "no request leaves its tick"


def test_a_silence_between_ticks_stays_a_silence(tmp_path: Path) -> None:
    at = [0, 0, 3000, 3000, 6000, 6000, 600_000, 600_000, 603_000, 603_000]
    arrivals = whole(trace_of(tmp_path, *(mooncake(t, 10) for t in at))).arrival_seconds
    assert arrivals[5] < 9.1
    assert arrivals[6] > 597


def test_ticks_are_spread_the_same_for_a_seed(tmp_path: Path) -> None:
    records = [mooncake(3000 * (row // 9), 10) for row in range(90)]
    one, same, other = (whole(trace_of(tmp_path, *records, seed=s)) for s in (1, 1, 2))
    assert np.array_equal(one.arrival_seconds, same.arrival_seconds)
    assert not np.array_equal(one.arrival_seconds, other.arrival_seconds)


def test_exact_times_are_left_alone(tmp_path: Path) -> None:
    at = [0, 7, 7, 1000, 1500, 4000]
    requests = whole(trace_of(tmp_path, *(mooncake(t, 10) for t in at)))
    assert requests.arrival_seconds.tolist() == [t / 1000 for t in at]


def test_equal_ids_are_prefix_hits(tmp_path: Path) -> None:
    requests = whole(
        trace_of(
            tmp_path,
            mooncake(0, 1500, [1, 2, 3]),
            mooncake(10, 1500, [1, 2, 4]),
            mooncake(20, 1500, [9, 2, 3]),
            mooncake(30, 1500, [1, 2, 3]),
        )
    )
    assert requests.cached_tokens.tolist() == [0, 1024, 0, 1499], "the last token is computed"


def test_the_cache_is_as_large_as_said(tmp_path: Path) -> None:
    records = [mooncake(10 * i, 512, [i % 3]) for i in range(9)]
    small = trace_of(tmp_path, *records, cache_tokens=2 * 512)
    assert whole(small).cached_tokens.sum() == 0, "three prompts in turn push each other out"
    large = trace_of(tmp_path, *records, cache_tokens=3 * 512)
    assert whole(large).cached_tokens.tolist() == [0] * 3 + [511] * 6
    assert whole(large).cached_tokens.tolist() == [0] * 3 + [511] * 6, "each pass starts cold"
    assert any("1,536 tokens in blocks of 512" in note for note in large.notes)
    assert whole(trace_of(tmp_path, *records, cache_tokens=0)).cached_tokens.sum() == 0


def test_a_prefix_outlives_what_builds_on_it() -> None:
    cache = PrefixCache(3)
    cache.reuse([1, 2, 3])
    cache.reuse([9])
    assert cache.reuse([1, 2, 3]) == 2


def test_ticks_are_spread_alike_in_chunks_and_at_once() -> None:
    """The last instant of a chunk may go on in the next; a short tick ends at the one after."""
    instants = np.cumsum([3.0, 3.0, 3.0, 1.0, 3.0, 3.0] * 10)
    arrivals = np.repeat(instants, 7)
    requests = Requests(arrivals, np.arange(len(arrivals)) * 1.0, arrivals, arrivals * 0)
    chunks = [requests.take(slice(i, i + 50)) for i in range(0, len(arrivals), 50)]
    split = Requests.concat(spread_ticks(iter(chunks), seed=3))
    at_once = Requests.concat(spread_ticks(iter([requests]), seed=3))
    assert np.all(np.diff(split.arrival_seconds) >= 0)
    assert np.array_equal(split.arrival_seconds, at_once.arrival_seconds)
    ends = np.append(instants[1:], np.inf)[np.searchsorted(instants, arrivals)]
    assert np.all((split.arrival_seconds >= arrivals) & (split.arrival_seconds <= ends))


def test_weka_sessions_are_refused_because_their_ids_are_local(tmp_path: Path) -> None:
    session = {"id": "a", "models": [], "block_size": 64, "hash_id_scope": "local", "requests": []}
    with pytest.raises(TraceError, match="closed loop, not arrivals"):
        trace_of(tmp_path, session)


@given(st.lists(st.lists(st.integers(0, 6), max_size=6), max_size=30), st.integers(0, 8))
def test_a_cache_never_finds_more_than_an_endless_one(prompts: list[list[int]], size: int) -> None:
    cache, seen = PrefixCache(size), set[int]()
    for blocks in prompts:
        hits = cache.reuse(blocks)
        assert set(blocks[:hits]) <= seen
        seen |= set(blocks)


@pytest.mark.parametrize("size", [16, 64, 512])
def test_the_block_size_is_inferred(tmp_path: Path, size: int) -> None:
    blocks = list(range(-(-6758 // size)))
    trace = trace_of(tmp_path, mooncake(0, 6758, blocks), mooncake(10, 6758, blocks))
    assert any(f"blocks of {size}" in note for note in trace.notes)


def test_other_names_for_the_same_fields(tmp_path: Path) -> None:
    record = {"created_time": 1000.5, "input_tokens": 3, "output_tokens": 4}
    requests = whole(trace_of(tmp_path, record, record | {"created_time": 2000.5}))
    assert requests.arrival_seconds.tolist() == pytest.approx([0, 1])
    assert requests.output_tokens.tolist() == [4, 4]


def test_bailian_blocks_count_only_behind_equal_beginnings(tmp_path: Path) -> None:
    """Ids name a block's own content: 9 behind 6 and 9 behind 5 are different prefixes."""
    requests = whole(
        trace_of(
            tmp_path,
            bailian(0, 33, [5, 7, 8]),
            bailian(1, 33, [6, 9, 8]),
            bailian(2, 33, [5, 9, 8]),
        )
    )
    assert requests.cached_tokens.tolist() == [0, 0, 16]


def test_bailian_partial_last_block_is_no_hit(tmp_path: Path) -> None:
    requests = whole(trace_of(tmp_path, bailian(0, 20, [5, 7]), bailian(1, 40, [5, 7, 9])))
    assert requests.cached_tokens.tolist() == [0, 16]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param('{"timestamp": 1', "line 2: not JSON", id="broken-json"),
        pytest.param("[1, 2]", "line 2: a JSON list; expected a JSON object", id="list"),
        pytest.param(
            '{"timestamp": 5, "output_length": 5}',
            "field input_length: missing; expected input_length or input_tokens",
            id="missing",
        ),
        pytest.param(
            '{"delay": 5, "input_length": 1, "output_length": 5}',
            "field timestamp: missing",
            id="closed-loop-turn",
        ),
        pytest.param(
            '{"timestamp": "5", "input_length": 1, "output_length": 5}',
            "field timestamp: '5'; expected a number",
            id="text-for-number",
        ),
        pytest.param(
            '{"timestamp": 5, "input_length": -1, "output_length": 5}',
            "field input_length: -1; expected a whole number",
            id="negative",
        ),
        pytest.param(
            '{"timestamp": 5, "input_length": 1, "output_length": 0}',
            "field output_length: 0; expected a whole number, 1 or more",
            id="no-answer",
        ),
        pytest.param(
            '{"timestamp": NaN, "input_length": 1, "output_length": 5}',
            "field timestamp: nan",
            id="nan",
        ),
        pytest.param(
            '{"timestamp": 5, "input_length": 1, "output_length": 5, "hash_ids": ["a"]}',
            "field hash_ids: ['a']; expected a list of whole numbers",
            id="hash-ids",
        ),
    ],
)
def test_a_bad_record_is_named_with_its_field(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f"{json.dumps(mooncake(0, 1))}\n{line}\n{json.dumps(mooncake(9, 1))}\n")
    with pytest.raises(TraceError) as error:
        whole(open_trace(path))
    assert "line 2" in str(error.value)
    assert said in str(error.value)
    trace = open_trace(path, skip_bad_lines=True)
    assert len(whole(trace)) == 2
    assert trace.bad_lines == 1


def test_the_published_conversation_trace(public_trace) -> None:
    path = public_trace("mooncake/conversation_trace.jsonl")
    requests = whole(open_trace(path, options=Options(cache_tokens=10**12)))
    assert len(requests) == 12_031
    assert requests.input_tokens.mean() == pytest.approx(12_035, abs=1)
    gaps = np.diff(requests.arrival_seconds)
    assert 0.8 < gaps.std() / gaps.mean() < 1.2, "3.0 with the ticks as they are"
    # A cache without end hits 36.6% of all blocks.
    hit_blocks = np.ceil(requests.cached_tokens / 512).sum()
    assert hit_blocks / np.ceil(requests.input_tokens / 512).sum() == pytest.approx(0.366, abs=5e-4)
    bounded = whole(open_trace(path))
    assert 0 < bounded.cached_tokens.sum() < requests.cached_tokens.sum()
    assert Counter(bounded.input_tokens) == Counter(requests.input_tokens)
