"""Reading requests line by line: what is accepted, and what is said about what is not."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from replay.requests import Requests
from replay.traces import Trace, TraceError, of_requests, open_trace
from replay.traces.export import write_csv
from replay.traces.lines import REORDER_SECONDS
from replay.traces.trace import CHUNK_ROWS

HEADER = "arrival_seconds,input_tokens,output_tokens"


def whole(trace: Trace) -> Requests:
    return Requests.concat(trace.chunks())


def written(folder: Path, *lines: str) -> Path:
    path = folder / "trace.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_file_starts_at_its_first_request(tmp_path: Path) -> None:
    trace = open_trace(written(tmp_path, HEADER, "1700000000.5,10,2", "1700000002,20,3"))
    requests = whole(trace)
    assert trace.format == "csv"
    assert requests.arrival_seconds.tolist() == [0.0, 1.5]
    assert requests.input_tokens.tolist() == [10, 20]
    assert requests.cached_tokens.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("3,10", ["line 3:", "2 fields", f"expected 3: {HEADER}"], id="too-few-fields"),
        pytest.param("3,10,2,1", ["line 3:", "4 fields", "expected 3"], id="too-many-fields"),
        pytest.param("3,ten,2", ["line 3, field input_tokens", "'ten'", "whole"], id="no-number"),
        pytest.param("3,,2", ["line 3, field input_tokens", "is empty"], id="empty-field"),
        pytest.param(
            "3,10,-2", ["line 3, field output_tokens", "'-2'", "1 or more"], id="negative"
        ),
        pytest.param("3,10,0", ["line 3, field output_tokens", "'0'"], id="no-answer"),
        pytest.param("3,0,2", ["line 3, field input_tokens", "'0'"], id="no-prompt"),
        pytest.param("3,10,2.5", ["line 3, field output_tokens", "'2.5'", "whole"], id="fraction"),
        pytest.param("3,nan,2", ["line 3, field input_tokens", "'nan'"], id="nan"),
        pytest.param("inf,10,2", ["line 3, field arrival_seconds", "'inf'"], id="infinite-time"),
        pytest.param("3,10,2\x00", ["line 3", "unreadable text"], id="nul-byte"),
        pytest.param(HEADER, ["line 3, field arrival_seconds"], id="second-header"),
        pytest.param(
            f"{-REORDER_SECONDS - 1},10,2",
            ["line 3, field arrival_seconds", "61 s before", "go back by at most 60 s"],
            id="time-goes-back",
        ),
        pytest.param(
            "1700000000000,10,2",
            ["line 3, field arrival_seconds", "1.7e+12 s after", "leap by at most"],
            id="milliseconds-among-seconds",
        ),
        pytest.param("3,10,2e15", ["line 3, field output_tokens", "at most 1e9"], id="too-large"),
        pytest.param('3,10,"2', ["line 3, field output_tokens: '\"2'"], id="quote"),
    ],
)
def test_a_bad_line_is_named_with_its_field(tmp_path: Path, line: str, said: list[str]) -> None:
    path = written(tmp_path, HEADER, "0,10,2", line, "4,10,2")
    with pytest.raises(TraceError) as error:
        whole(open_trace(path))
    for part in [str(path), *said]:
        assert part in str(error.value)

    trace = open_trace(path, skip_bad_lines=True)
    assert trace.bad_lines is None, "unknown before the file is read"
    assert whole(trace).arrival_seconds.tolist() == [0.0, 4.0]
    assert trace.bad_lines == 1
    assert said[0].split(":")[0] in trace.bad_line_examples[0]
    assert len(whole(trace)) == 2
    assert trace.bad_lines == 1, "a second pass counts afresh"


def test_more_cached_than_input_tokens_is_a_bad_line(tmp_path: Path) -> None:
    path = written(tmp_path, f"{HEADER},cached_tokens", "0,10,2,10", "1,10,2,11")
    with pytest.raises(TraceError, match=r"line 3, field cached_tokens: 11 cached .* of 10"):
        whole(open_trace(path))


@settings(max_examples=30, deadline=None)
@given(bad=st.sets(st.integers(0, 199), max_size=200))
def test_exactly_the_bad_lines_are_skipped(
    bad: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [f"{i},{i + 1},oops" if i in bad else f"{i},{i + 1},1" for i in range(200)]
    trace = open_trace(written(tmp_path_factory.mktemp("bad"), HEADER, *lines), skip_bad_lines=True)
    if len(bad) == 200:
        with pytest.raises(TraceError, match="holds no requests; all 200 lines"):
            whole(trace)
        return
    assert whole(trace).input_tokens.tolist() == [i + 1 for i in range(200) if i not in bad]
    assert trace.bad_lines == len(bad)


def test_many_leaps_are_skipped(tmp_path: Path) -> None:
    rows = [f"{i if i % 3 else 10**10 * (i + 1)},{i},1" for i in range(1, 300)]
    trace = open_trace(written(tmp_path, HEADER, *rows), skip_bad_lines=True)
    assert whole(trace).input_tokens.tolist() == [i for i in range(1, 300) if i % 3]
    assert trace.bad_lines == 99


HEADS = [
    "",
    HEADER,
    f"{HEADER},cached_tokens",
    "TIMESTAMP,ContextTokens,GeneratedTokens",
    "2024-05-10 00:00:00+00:00,1,2",
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "timestamp,count\n0,1\n60,1",
    '{"timestamp": 0, "input_length": 1, "output_length": 1}',
    '{"chat_id": 1, "timestamp": 0, "input_length": 1, "output_length": 1}',
]
LINES = st.one_of(
    st.binary(max_size=40),
    st.text('0123456789.,-+eE:TZ"naif{}[] \t', max_size=40).map(str.encode),
    st.lists(st.floats().map(str) | st.integers().map(str), max_size=6).map(
        lambda fields: ",".join(fields).encode()
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["timestamp", "input_length", "output_length", "hash_ids"]), inner
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(max_examples=200, deadline=None)
@given(head=st.sampled_from(HEADS), lines=st.lists(LINES, max_size=6), skip=st.booleans())
@example(head="", lines=[b'{"timestamp": 0, "input_length": 1, "hash_ids": true}'], skip=False)
@example(head="", lines=[b'{"input_length": 1%s, "hash_ids": [0]}' % (b"0" * 400)], skip=False)
def test_whatever_a_file_holds_it_is_read_or_refused(
    head: str, lines: list[bytes], skip: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(b"\n".join([head.encode(), *lines]))
    try:
        requests = whole(open_trace(path, skip_bad_lines=skip))
    except TraceError as error:
        assert str(path) in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert np.all(np.diff(requests.arrival_seconds) >= 0)
        assert np.all((requests.cached_tokens >= 0) & (requests.output_tokens >= 0))


def test_a_bad_line_far_into_a_long_file_is_named(tmp_path: Path) -> None:
    lines = [f"{i},10,2" for i in range(2 * CHUNK_ROWS + 10)]
    lines[-3] = "x,10,2"
    with pytest.raises(TraceError, match=rf"line {len(lines) - 1}, field arrival_seconds: 'x'"):
        whole(open_trace(written(tmp_path, HEADER, *lines)))


def test_blank_lines_are_neither_requests_nor_bad(tmp_path: Path) -> None:
    trace = open_trace(
        written(tmp_path, HEADER, "", "0,10,2", "  ", "1,x,2", ""), skip_bad_lines=True
    )
    assert len(whole(trace)) == 1
    assert trace.bad_lines == 1
    assert "line 5" in trace.bad_line_examples[0]


def test_slightly_late_lines_are_put_in_order(tmp_path: Path) -> None:
    trace = open_trace(written(tmp_path, HEADER, "100,1,1", "120,2,1", "95,3,1", "200,4,1"))
    requests = whole(trace)
    assert requests.arrival_seconds.tolist() == [0, 5, 25, 105]
    assert requests.input_tokens.tolist() == [3, 1, 2, 4]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"\n \n", "is empty", id="blank"),
        pytest.param(HEADER.encode() + b"\n", "holds no requests", id="header-only"),
        pytest.param(b"a,b\n1,2\n", "no known trace format; it starts with 'a,b'", id="unknown"),
        pytest.param(bytes(range(256)), "no known trace format", id="binary"),
        pytest.param(b"\x1f\x8b\x08garbage", "cannot be read", id="broken-gzip"),
    ],
)
def test_a_file_that_is_no_trace(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "trace"
    path.write_bytes(content)
    with pytest.raises(TraceError) as error:
        whole(open_trace(path))
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_an_unknown_format_names_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(TraceError) as error:
        open_trace(written(tmp_path, "when,what"))
    assert HEADER in str(error.value)
    assert "TIMESTAMP,ContextTokens,GeneratedTokens" in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"nothing-here\.csv: cannot be read: No such file"):
        open_trace(tmp_path / "nothing-here.csv")


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n0,10,2\n1,20,3\n".encode()))
    assert whole(open_trace(path)).input_tokens.tolist() == [10, 20]


def test_a_truncated_compressed_file_is_an_error(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i * 7 % 1000 + 1},2\n" for i in range(300_000))
    path = tmp_path / "trace.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n{rows}".encode())[:-1000])
    with pytest.raises(TraceError, match="cannot be read: Compressed file ended"):
        whole(open_trace(path))


COUNTS = arrays(np.int64, 50, elements=st.integers(1, 200_000))


@settings(max_examples=25, deadline=None)
@given(
    gaps=arrays(np.float64, 50, elements=st.floats(0, 1e4, allow_subnormal=False)),
    inputs=COUNTS,
    outputs=COUNTS,
)
def test_what_is_written_reads_back_unchanged(
    gaps: np.ndarray,
    inputs: np.ndarray,
    outputs: np.ndarray,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    arrivals = np.cumsum(gaps) - gaps[0]
    before = Requests(arrivals, inputs * 1.0, outputs * 1.0, inputs // 2 * 1.0)
    path = tmp_path_factory.mktemp("round") / "trip.csv"
    assert write_csv(of_requests("before", before), path) == 50
    after = whole(open_trace(path))
    np.testing.assert_array_equal(after.arrival_seconds, before.arrival_seconds)
    np.testing.assert_array_equal(after.input_tokens, before.input_tokens)
    np.testing.assert_array_equal(after.output_tokens, before.output_tokens)
    np.testing.assert_array_equal(after.cached_tokens, before.cached_tokens)


def test_a_trace_can_be_written_over_itself(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER, "0,10,2", "1,20,3")
    assert write_csv(open_trace(path), path) == 2
    assert whole(open_trace(path)).input_tokens.tolist() == [10, 20]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "kept.csv"
    target.write_text("precious")
    with pytest.raises(TraceError):
        write_csv(open_trace(written(tmp_path, HEADER, "0,10,2", "bad")), target)
    assert target.read_text() == "precious"
    assert {p.name for p in tmp_path.iterdir()} == {"kept.csv", "trace.csv"}


def test_a_trace_in_memory_is_checked() -> None:
    with pytest.raises(ValueError, match="must never decrease"):
        of_requests("backwards", Requests.of([1, 0], [1, 1], [1, 1]))


def test_chunks_stay_small(tmp_path: Path) -> None:
    trace = open_trace(written(tmp_path, HEADER, *(f"{i},1,1" for i in range(3 * CHUNK_ROWS))))
    sizes = [len(chunk) for chunk in trace.chunks()]
    assert sum(sizes) == 3 * CHUNK_ROWS
    assert max(sizes) <= CHUNK_ROWS + REORDER_SECONDS
