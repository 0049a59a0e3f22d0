"""Azure traces. Each trap of the published files is a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from replay.requests import Requests
from replay.traces import TraceError, open_trace

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def read(folder: Path, text: str) -> Requests:
    path = folder / "azure.csv"
    path.write_bytes(text.encode())
    trace = open_trace(path)
    assert trace.format == "azure"
    return Requests.concat(trace.chunks())


def test_seven_fractional_digits_are_kept(tmp_path: Path) -> None:
    requests = read(
        tmp_path,
        f"{HEADER}\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:03.9799601,3180,8\n",
    )
    assert requests.arrival_seconds.tolist() == pytest.approx([0, 1e-7], abs=1e-12)


def test_crlf_and_no_final_newline(tmp_path: Path) -> None:
    requests = read(
        tmp_path,
        f"{HEADER}\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8",
    )
    assert requests.arrival_seconds.tolist() == pytest.approx([0, 0.052])
    assert requests.output_tokens.tolist() == [10, 8]


def test_mixed_fractions_with_a_zone(tmp_path: Path) -> None:
    requests = read(
        tmp_path,
        f"{HEADER}\n2024-05-10 00:00:00+00:00,1,1\n2024-05-10 00:00:00.001163+00:00,2,2\n"
        "2024-05-10T00:00:01Z,3,3\n",
    )
    assert requests.arrival_seconds.tolist() == pytest.approx([0, 0.001163, 1], abs=1e-12)


def test_rows_without_a_header(tmp_path: Path) -> None:
    requests = read(
        tmp_path,
        "2024-05-10 00:00:00.009930+00:00,2162,5\n2024-05-10 00:00:00.017335+00:00,2399,6\n",
    )
    assert requests.input_tokens.tolist() == [2162, 2399]


def test_both_years_give_the_same_seconds(tmp_path: Path) -> None:
    """Nanoseconds in one file and microseconds in the other are the same time."""
    old = read(
        tmp_path, f"{HEADER}\n2023-11-16 18:17:03.0000000,1,1\n2023-11-16 18:17:04.5000000,1,1\n"
    )
    new = read(
        tmp_path, f"{HEADER}\n2024-05-10 00:00:00+00:00,1,1\n2024-05-10 00:00:01.500000+00:00,1,1\n"
    )
    assert old.arrival_seconds.tolist() == new.arrival_seconds.tolist() == [0, 1.5]


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param("2023-11-16", id="date-only"),
        pytest.param("18:17:03.9799600", id="time-only"),
        pytest.param("2023-11-16 25:17:03", id="hour-25"),
        pytest.param("2024-05-10 00:00:00+02:00", id="another-zone"),
        pytest.param("2024-05-10 00:00:00-07:00", id="a-western-zone"),
        pytest.param("NaT", id="nat"),
        pytest.param("", id="empty"),
    ],
)
def test_a_wrong_time_is_named(tmp_path: Path, stamp: str) -> None:
    with pytest.raises(
        TraceError, match=r"line 3, field TIMESTAMP: .* expected a UTC date and time"
    ):
        read(tmp_path, f"{HEADER}\n2023-11-16 18:17:03.9799600,4808,10\n{stamp},3180,8\n")


@pytest.mark.parametrize(
    ("file", "rows", "seconds", "input_mean", "output_mean"),
    [
        pytest.param("conv", 19_366, 3501.722, 1155, 211, id="conversation"),
        pytest.param("code", 8_819, 3435.948, 2048, 28, id="code"),
    ],
)
def test_the_published_files(
    public_trace, file: str, rows: int, seconds: float, input_mean: float, output_mean: float
) -> None:
    path = public_trace(f"azure-2023/AzureLLMInferenceTrace_{file}.csv")
    trace = open_trace(path)
    requests = Requests.concat(trace.chunks())
    assert len(requests) == rows
    assert trace.bad_lines == 0
    assert requests.arrival_seconds[[0, -1]].tolist() == pytest.approx([0, seconds], abs=1e-3)
    assert np.all(np.diff(requests.arrival_seconds) > 0), "published timestamps are unique"
    assert requests.input_tokens.mean() == pytest.approx(input_mean, abs=0.5)
    assert requests.output_tokens.mean() == pytest.approx(output_mean, abs=0.5)
