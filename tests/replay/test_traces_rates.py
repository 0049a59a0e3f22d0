"""Traces that hold failed calls, rates or clients: BurstGPT, hourly series, ServeGen."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from replay.requests import Requests
from replay.traces import Trace, TraceError, of_requests, open_trace
from replay.traces.gaps import stand_ins
from replay.traces.lengths import PUBLISHED, resampled_lengths
from replay.traces.shape import scale_rate
from replay.traces.source import Options

BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"


def whole(trace: Trace) -> Requests:
    return Requests.concat(trace.chunks())


def written(folder: Path, *lines: str) -> Path:
    path = folder / "series.csv"
    path.write_text("\n".join(lines))
    return path


def per_window(trace: Trace, seconds: float, windows: int) -> np.ndarray:
    arrivals = whole(trace).arrival_seconds
    return np.bincount((arrivals / seconds).astype(int), minlength=windows)


def test_burstgpt_failed_calls_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        BURSTGPT,
        "5,ChatGPT,472,18,490,Conversation log",
        "45,ChatGPT,1087,0,1087,Conversation log",
        "118,GPT-4,417,276,693,API log",
    )
    trace = open_trace(path)
    assert trace.format == "burstgpt"
    assert whole(trace).arrival_seconds.tolist() == [0, 113]
    assert (trace.failed_calls, trace.bad_lines) == (1, 0)
    assert len(whole(trace)) == 2
    assert trace.failed_calls == 1, "a second pass counts afresh"


def test_burstgpt_need_not_start_at_zero(tmp_path: Path) -> None:
    """The second header, and the file that starts at 19440110.0 s."""
    path = written(
        tmp_path,
        BURSTGPT.replace("Model", "Session ID,Elapsed time,Model"),
        "19440110.0,a-1,1.5,ChatGPT,10,20,30,Conversation log",
        "19440111.5,,,ChatGPT,11,21,32,API log",
    )
    requests = whole(open_trace(path))
    assert requests.arrival_seconds.tolist() == [0, 1.5]
    assert requests.input_tokens.tolist() == [10, 11]


def test_burstgpt_bad_line(tmp_path: Path) -> None:
    path = written(tmp_path, BURSTGPT, "5,ChatGPT,472,x,490,Conversation log")
    with pytest.raises(TraceError, match="line 2, field Response tokens: 'x'"):
        whole(open_trace(path))
    path = written(tmp_path, BURSTGPT, "5,ChatGPT,0,18,18,Conversation log")
    with pytest.raises(TraceError, match="line 2, field Request tokens: an answer to a prompt of"):
        whole(open_trace(path))


def test_a_made_up_burstgpt_is_doubted(tmp_path: Path) -> None:
    """A file of that name circulates with one call per second and prompts under 100 tokens."""
    rows = [f"{i},ChatGPT,{20 + i},{30 + i},{50 + 2 * i},Conversation log" for i in range(9)]
    assert "doubtful" in open_trace(written(tmp_path, BURSTGPT, *rows)).notes[-1]
    rows[2] = "2.5,ChatGPT,472,18,490,Conversation log"
    notes = open_trace(written(tmp_path, BURSTGPT, *rows)).notes
    assert not any("doubtful" in note for note in notes)


SERIES = [
    pytest.param("timestamp,count", ("2024-05-10T{hour:02}:00:00Z",), id="own-iso"),
    pytest.param("timestamp,count", ("{seconds}",), id="own-seconds"),
    pytest.param(
        "timestamp_utc,requests_10min_approx", ("2024-05-10T{hour:02}:00:00Z",), id="azure-10min"
    ),
    pytest.param("day,hour,date,conversation", ("0", "{hour}", "2024-05-12"), id="azure-hourly"),
]


@pytest.mark.parametrize(("header", "cells"), SERIES)
def test_a_series_becomes_requests_at_its_rate(
    tmp_path: Path, header: str, cells: tuple[str, ...]
) -> None:
    counts = [1800, 3600, 0, 900]
    lines = [
        ",".join([cell.format(hour=hour, seconds=3600 * hour) for cell in cells] + [str(count)])
        for hour, count in enumerate(counts)
    ]
    trace = open_trace(written(tmp_path, header, *lines))
    assert trace.format == "rates"
    assert trace.expected_requests == pytest.approx(sum(counts))
    drawn = per_window(trace, 3600, 4)
    for count, expected in zip(drawn, counts, strict=True):
        assert abs(count - expected) <= 4 * np.sqrt(expected)
    assert "synthesised from real rates" in trace.notes[0]
    assert "an assumption" in trace.notes[1]


def test_a_series_is_scaled_by_its_rates(tmp_path: Path) -> None:
    trace = open_trace(written(tmp_path, "timestamp,count", "0,100", "60,300"))
    scaled = scale_rate(scale_rate(trace, 100), 0.5)
    assert scaled.expected_requests == pytest.approx(20_000)
    counts = per_window(scaled, 60, 2)
    assert counts == pytest.approx([5000, 15000], rel=0.06)
    assert len(np.unique(whole(scaled).arrival_seconds)) == counts.sum()


def test_burstgpt_hourly_has_three_series(tmp_path: Path) -> None:
    path = written(tmp_path, "day,hour,conversation,api,all", "0,0,38,2,40", "0,1,10,90,100")
    assert open_trace(path).expected_requests == pytest.approx(140)
    for series, total in (("conversation", 48), ("api", 92)):
        trace = open_trace(path, options=Options(series=series))
        assert trace.expected_requests == pytest.approx(total)
        assert f"burstgpt-{series}" in trace.notes[1]
    assert any("local time, zone unstated" in note for note in trace.notes)
    with pytest.raises(TraceError, match="no series 'chat'; there is all, conversation, api"):
        open_trace(path, options=Options(series="chat"))


def test_a_file_of_requests_has_no_series(tmp_path: Path) -> None:
    path = written(tmp_path, BURSTGPT, "5,ChatGPT,472,18,490,Conversation log")
    with pytest.raises(TraceError, match="holds requests, no series 'api'"):
        open_trace(path, options=Options(series="api"))


def test_windows_marked_as_gaps_are_filled_from_other_days(tmp_path: Path) -> None:
    """ServeGen's aggregate: zeros of all clients at once are missing data, not silence."""
    rate = {0: 10.0, 1: 50.0}
    lines = [
        f"{43_200 * w},{0.0 if w in {2, 3} else rate[w % 2]},5,2.0,{int(w in {2, 3})}"
        for w in range(6)
    ]
    trace = open_trace(
        written(tmp_path, "t_s,rate_rps,active_clients,rate_weighted_client_cv,gap", *lines),
    )
    assert trace.expected_requests == pytest.approx(43_200 * 3 * 60)
    assert any(note.startswith("2 windows without data") for note in trace.notes)


def test_absent_windows_are_filled_too(tmp_path: Path) -> None:
    trace = open_trace(written(tmp_path, "timestamp,count", "0,60", "60,60", "180,60"))
    assert trace.expected_requests == pytest.approx(240)
    assert any(note.startswith("1 windows") for note in trace.notes)


def test_a_gap_takes_the_nearest_day_at_the_same_time() -> None:
    missing = np.array([False, False, True, True, True, False, False, False])
    assert stand_ins(missing, 2).tolist() == [0, 1, 0, 1, 6, 5, 6, 7]
    assert stand_ins(np.array([True, False, True, True]), 100).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param(["0,5"], "one window", id="one-window"),
        pytest.param(["0,5", "60,5", "130,1"], "not evenly spaced", id="uneven"),
        pytest.param(["0,5", "0,5"], "not evenly spaced", id="twice"),
        pytest.param(["0,5", "60,-5"], "line 3, field count: '-5'", id="negative"),
        pytest.param(["0,5", "soon,5"], "line 3, field timestamp: 'soon'", id="no-time"),
        pytest.param(["3600,5", "0,5"], "line 3, field timestamp: arrives 3600 s", id="backwards"),
    ],
)
def test_a_bad_series(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(TraceError, match=said):
        open_trace(written(tmp_path, "timestamp,count", *lines))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lengths_are_drawn_as_published(name: str) -> None:
    law = PUBLISHED[name]
    inputs, outputs = law(np.random.default_rng(0), np.zeros(200_000))
    assert inputs.mean() == pytest.approx(law.input_mean, rel=0.1)
    assert outputs.mean() == pytest.approx(law.output_mean, rel=0.03)
    assert outputs.std() / outputs.mean() == pytest.approx(law.output_cv, rel=0.1)
    assert abs(spearmanr(inputs, outputs).statistic) < 0.02


def test_lengths_of_another_trace_stay_in_pairs(tmp_path: Path) -> None:
    pairs = of_requests("pairs", Requests.of(range(3), [10, 20, 30], [1, 2, 3]))
    options = Options(lengths=resampled_lengths(pairs))
    path = written(tmp_path, "timestamp,count", "0,500", "60,500")
    requests = whole(open_trace(path, options=options))
    assert set(requests.input_tokens) == {10, 20, 30}
    assert np.array_equal(requests.input_tokens, requests.output_tokens * 10)


@pytest.mark.parametrize(
    ("file", "series", "total"),
    [
        pytest.param("burstgpt-hourly/burstgpt_hourly.csv", "all", 1_429_737, id="burstgpt"),
        pytest.param("burstgpt-hourly/burstgpt_hourly.csv", "conversation", 154_219, id="talk"),
        pytest.param("azure-2024/azure2024_code_10min_digitised.csv", None, 16_803_695, id="code"),
    ],
)
def test_the_published_series(public_trace, file: str, series: str | None, total: int) -> None:
    trace = open_trace(public_trace(file), options=Options(series=series))
    assert trace.expected_requests == pytest.approx(total, rel=1e-5)


def servegen_folder(
    folder: Path,
    rates: dict[int, list[float]],
    lengths: dict[int, Any] | None = None,
    shape: float = 0.5,
) -> Path:
    for client, series in rates.items():
        (folder / f"chunk-{client}-trace.csv").write_text(
            "".join(
                f"{600 * w},{rate},2.0,Weibull,{shape},0.3\n" if rate else f"{600 * w},0,0,,0,0\n"
                for w, rate in enumerate(series)
            )
        )
    for client, record in (lengths or {}).items():
        (folder / f"chunk-{client}-dataset.json").write_text(json.dumps(record))
    return folder


def lengths_of(inputs: str, outputs: str) -> dict[str, Any]:
    return {"0": {"input_tokens": inputs, "output_tokens": outputs}}


def test_servegen_windows_hold_each_clients_published_count(tmp_path: Path) -> None:
    trace = open_trace(servegen_folder(tmp_path, {0: [1, 0.5, 1], 7: [2, 0, 1]}))
    assert trace.format == "servegen"
    assert per_window(trace, 600, 3).tolist() == [1800, 300, 1200]
    assert "of 2 clients" in trace.notes[0]
    assert np.all(np.diff(whole(trace).arrival_seconds) >= 0)


@pytest.mark.parametrize("shape", [0.15, 0.3, 1.0, 3.0])
def test_servegen_gaps_have_the_clients_shape(tmp_path: Path, shape: float) -> None:
    trace = open_trace(servegen_folder(tmp_path, {0: [5.0] * 20}, shape=shape))
    gaps = np.diff(whole(trace).arrival_seconds)
    exact = np.random.default_rng(0).weibull(shape, 1_000_000)
    for share in (0.5, 0.9):  # scale-free: quantiles over the interquartile range
        drawn, theory = (
            np.quantile(g, share) / np.subtract(*np.quantile(g, (0.75, 0.25)))
            for g in (gaps, exact)
        )
        assert drawn == pytest.approx(theory, rel=0.1)


def test_servegen_scales_rates_before_drawing(tmp_path: Path) -> None:
    """Two billion requests at a millionth: over at once, because they are never drawn."""
    trace = open_trace(servegen_folder(tmp_path, {0: [1e6] * 4, 1: [0.0, 0, 0, 1e6]}))
    assert trace.expected_requests == pytest.approx(3e9)
    assert per_window(scale_rate(trace, 1e-6), 600, 4).tolist() == [600, 600, 600, 1200]


def test_servegen_zero_runs_of_all_clients_are_gaps(tmp_path: Path) -> None:
    day = [1.0] * 72 + [2.0] * 72
    series = day * 3
    series[150:160] = [0.0] * 10
    trace = open_trace(servegen_folder(tmp_path, {0: series, 1: series}))
    assert any(note.startswith("10 windows without data") for note in trace.notes)
    assert trace.expected_requests == pytest.approx(2 * 600 * 3 * sum(day))


def test_servegen_lengths_are_not_rank_correlated(tmp_path: Path) -> None:
    spread = "{" + ", ".join(f"{n}: 0.01" for n in range(1, 101)) + "}"
    path = servegen_folder(tmp_path, {0: [5.0] * 4}, {0: lengths_of(spread, spread)})
    requests = whole(open_trace(path))
    assert requests.input_tokens.mean() == pytest.approx(50.5, rel=0.02)
    assert abs(spearmanr(requests.input_tokens, requests.output_tokens).statistic) < 0.05


def test_servegen_clients_without_lengths_keep_their_load(tmp_path: Path) -> None:
    path = servegen_folder(
        tmp_path,
        {0: [1.0, 1.0], 1: [9.0, 9.0], 2: [1.0, 1.0]},
        {0: lengths_of("{10: 1.0}", "{1: 1.0}"), 2: lengths_of("{30: 1.0}", "{3: 1.0}")},
    )
    trace = open_trace(path)
    requests = whole(trace)
    assert len(requests) == 2 * 600 * 11
    assert set(requests.input_tokens) <= {10, 30}
    assert any("measured per client for 18% of the load (2 of 3" in note for note in trace.notes)


def test_servegen_lengths_of_0_are_left_out(tmp_path: Path) -> None:
    """Some clients of m-mid have calls without an answer; no fleet could serve those."""
    lengths = {
        0: lengths_of("{10: 1.0}", "{0: 0.9, 3: 0.1}"),
        1: lengths_of("{20: 1.0}", "{0: 1.0}"),
    }
    requests = whole(open_trace(servegen_folder(tmp_path, {0: [1.0, 1.0], 1: [1.0, 1.0]}, lengths)))
    assert {*requests.input_tokens} == {10}, "a client without any borrows the other's"
    assert {*requests.output_tokens} == {3}


def test_servegen_lengths_change_every_six_hours(tmp_path: Path) -> None:
    record = lengths_of("{10: 1.0}", "{1: 1.0}") | {
        "21600": {"input_tokens": "{20: 1.0}", "output_tokens": "{2: 1.0}"},
        "43200": {"input_tokens": "{}", "output_tokens": "{}"},
    }
    requests = whole(open_trace(servegen_folder(tmp_path, {0: [0.1] * 80}, {0: record})))
    early = requests.arrival_seconds < 21_600
    assert set(requests.input_tokens[early]) == {10}
    assert set(requests.input_tokens[~early]) == {20}, "an empty table is none"


def test_servegen_archives_with_lengths_beside(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    folder = servegen_folder(
        tmp_path / "folder", {0: [1.0, 1.0]}, {0: lengths_of("{10: 1.0}", "{1: 1.0}")}
    )
    for archive, pattern in (("x-trace.tar.gz", "*.csv"), ("x-dataset.tar.xz", "*.json")):
        with tarfile.open(tmp_path / archive, f"w:{archive[-2:]}") as tar:
            for file in folder.glob(pattern):
                tar.add(file, file.name)
    assert set(whole(open_trace(tmp_path / "x-trace.tar.gz")).input_tokens) == {10}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param("600,1,2,Cauchy,1,1", "line 2, field fit: 'Cauchy'", id="fit"),
        pytest.param("600,-1,2,Gamma,1,1", "line 2, field requests_per_second: '-1'", id="rate"),
        pytest.param("600,1,2", "line 2: 3 fields", id="fields"),
        pytest.param("700,1,2,Gamma,1,1", "its windows differ", id="windows"),
    ],
)
def test_servegen_bad_client(tmp_path: Path, line: str, said: str) -> None:
    path = servegen_folder(tmp_path, {0: [1.0, 1.0]})
    (path / "chunk-3-trace.csv").write_text(f"0,1,2,Gamma,1,1\n{line}\n")
    with pytest.raises(TraceError, match=rf"chunk-3-trace\.csv.*{said}"):
        open_trace(path)


def test_servegen_unreadable_lengths(tmp_path: Path) -> None:
    path = servegen_folder(tmp_path, {0: [1.0, 1.0]}, {0: lengths_of("{10: many}", "{1: 1.0}")})
    with pytest.raises(TraceError, match=r"chunk-0-dataset\.json: unreadable lengths"):
        whole(open_trace(path))


def test_a_folder_or_archive_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="is empty"):
        open_trace(tmp_path)
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("readme.txt"), io.BytesIO())
    with pytest.raises(TraceError, match=r"starts with 'readme\.txt'"):
        open_trace(tmp_path / "other.tar")


def test_the_published_clients(public_trace) -> None:
    trace = open_trace(public_trace("servegen/m-mid-trace.tar.gz"))
    assert "of 109 clients" in trace.notes[0]
    assert any("for 71% of the load (74 of 109 clients)" in note for note in trace.notes)
    assert any(note.startswith("102 windows without data") for note in trace.notes)
    requests = whole(scale_rate(trace, 2e-5))
    assert len(requests) == pytest.approx(trace.expected_requests * 2e-5, rel=0.02)
    assert requests.input_tokens.mean() == pytest.approx(307, rel=0.1)
    assert np.median(requests.output_tokens) == pytest.approx(34, rel=0.1)
