import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from planner.__main__ import main
from planner.backtesting import Plan
from planner.generated import generated
from planner.recorded import files, recorded

pytestmark = pytest.mark.slow

COLUMNS = ("series", "model", "pinball", "pinball_last_value", "mase", "coverage", "width",
           "fit_seconds", "update_milliseconds")  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """Three days of counts at 10 minutes with a daily wave."""
    cells = np.arange(3 * 144)
    counts = np.random.default_rng(0).poisson(6000 * (1 + 0.5 * np.sin(2 * np.pi * cells / 144)))
    times = np.datetime64("2026-03-01T00:00:00") + cells * np.timedelta64(10, "m")
    path = tmp_path / "load.csv"
    lines = (f"{time}Z,{count}" for time, count in zip(times, counts, strict=True))
    path.write_text("timestamp,count\n" + "\n".join(lines) + "\n")
    return path


def test_rows_for_every_model_and_the_ensemble(table, capsys):
    assert main(["backtest", str(table), "--models", "ets,lagged_ridge", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in said["rows"]] == [
        "last_value",
        "ets",
        "lagged_ridge",
        "ensemble",
    ]
    for row in said["rows"]:
        assert set(COLUMNS) <= set(row)
        assert 0.5 < row["coverage"] <= 1.0
    by_model = {row["model"]: row for row in said["rows"]}
    last = by_model["last_value"]
    assert last["pinball"] == last["pinball_last_value"]
    assert by_model["ensemble"]["pinball"] < last["pinball"]
    assert sum(said["weights"]["load"].values()) == pytest.approx(1.0)
    for weights in said["weights_over_time"]["load"]:
        assert sum(weights.values()) == pytest.approx(1.0)
    assert (
        last["pinball"] < last["pinball_last_value_as_it_is"]
    )  # 0.9 of the time is not half of it


def test_a_lead_longer_than_the_series_is_told_at_once(table, capsys):
    assert main(["backtest", str(table), "--models", "last_value", "--lead", "1e9"]) == 2
    assert "load: too short to score" in capsys.readouterr().err


def test_a_table_for_people_says_what_cannot_run(table, capsys):
    assert main(["backtest", str(table), "--models", "seasonal_naive"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("load: ")
    assert "seasonal_naive" in text
    assert "ensemble used:" in text


def test_the_page_needs_no_network(table, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["backtest", str(table), "--models", "ets", "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert 'src="http' not in text
    assert "what came" in text
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["nowhere.csv"], "nowhere.csv", id="no-such-file"),
        pytest.param(["{table}", "--models", "magic"], "no model 'magic'; there are", id="model"),
        pytest.param(
            ["{table}", "--quantile", "1.5"], "not a share above 0 and below 1", id="quantile"
        ),
        pytest.param(["{table}", "--lead", "-3"], "not a number above 0", id="lead"),
        pytest.param(["{short}"], "long enough", id="too-short"),
        pytest.param(["{broken}"], "line 3", id="broken-line"),
    ],
)
def test_mistakes_are_told_without_traceback(table, tmp_path, capsys, arguments, says):
    lines = table.read_text().splitlines(keepends=True)
    (tmp_path / "short.csv").write_text("".join(lines[:5]))
    (tmp_path / "broken.csv").write_text("".join([*lines[:2], "noon,many\n", *lines[2:9]]))
    places = {name: tmp_path / f"{name}.csv" for name in ("short", "broken")}
    filled = [argument.format(table=table, **places) for argument in arguments]
    assert main(["backtest", *filled]) == 2
    assert says in capsys.readouterr().err


def test_a_trace_is_counted_in_cells_of_ten_seconds(tmp_path):
    path = tmp_path / "trace.csv"
    rows = [f"2026-01-01 00:00:{second:02d}.0000000,10,5" for second in (0, 1, 2, 11, 35)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    (one,) = recorded(path)
    np.testing.assert_allclose(one.series.values, [0.3, 0.1, 0.0])


def test_of_a_folder_the_series_and_traces_are_taken_and_the_rest_left(table, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "SOURCE.md").write_text("where it comes from\n")
    (tmp_path / "empty.csv").write_text("")
    trace = tmp_path / "deep" / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2026-01-01 00:00:00.0,10,5\n")
    assert list(files(tmp_path)) == [trace, table]
    assert list(files(tmp_path / "SOURCE.md")) == [tmp_path / "SOURCE.md"]  # asked for by name


def test_the_rates_of_all_clients_are_one_series_and_their_gaps_stay_gaps(tmp_path):
    folder = tmp_path / "m-tiny"
    folder.mkdir()
    for client, rate in ((0, 2.0), (7, 3.0)):
        rows = [f"{600 * i},{0.0 if i == 5 else rate},1.0,Gamma,1.0,1.0" for i in range(200)]
        (folder / f"chunk-{client}-trace.csv").write_text("\n".join(rows) + "\n")
    assert list(files(folder)) == [folder]
    (one,) = recorded(folder)
    assert one.series.step_seconds == 600.0
    assert np.isnan(one.series.values[5])
    np.testing.assert_allclose(np.delete(one.series.values, 5), 5.0)


def test_generated_series_go_by_their_seed():
    first, again, other = (list(generated(seed)) for seed in (0, 0, 1))
    names = [one.name for one in first]
    assert len(set(names)) == len(names)
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one.series.values, same.series.values)
        assert not np.array_equal(one.series.values, different.series.values)
        assert (one.series.values >= 0).all()


def test_refits_are_as_often_as_asked_but_leave_something_to_learn_between(table):
    (one,) = recorded(table)
    plan = Plan(forecasters=(), refit_seconds=6 * 3600.0)
    assert plan.refit_cells(one.series) == 36
    assert plan.settings(one.series).target.last_step == 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        pytest.param([], "name a file, or a server", id="nothing"),
        pytest.param(["--prometheus", "http://127.0.0.1:9"], "--model: ", id="no-model"),
        pytest.param(["--prometheus", "nowhere", "--model", "m"], "--prometheus: ", id="no-url"),
        pytest.param(
            ["--prometheus", "http://127.0.0.1:9", "--model", "m"], "127.0.0.1:9", id="no-server"
        ),
    ],
)
def test_what_cannot_be_backtested_is_said(asked, says, capsys):
    assert main(["backtest", *asked]) != 0
    assert says in capsys.readouterr().err


class Remembering(BaseHTTPRequestHandler):
    """A metrics server that answers every range query with the same daily wave."""

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        start, end, step = (float(asked[name][0]) for name in ("start", "end", "step"))
        seconds = np.arange(start, end + step / 2, step)
        rates = 20 + 10 * np.sin(2 * np.pi * seconds / 86400)
        values = [[at, str(rate)] for at, rate in zip(seconds, rates, strict=True)]
        name = re.search(r'"pd_planner_query", "([^"]+)"', asked["query"][0]).group(1)
        result = [{"metric": {"pd_planner_query": name}, "values": values}]
        data = {"resultType": "matrix", "result": result}
        body = json.dumps({"status": "success", "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said):
        """Say nothing."""


def test_the_past_of_a_server_is_backtested(capsys):
    with ThreadingHTTPServer(("127.0.0.1", 0), Remembering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        asked = ["--prometheus", url, "--model", "llama", "--cell", "600", "--history-hours", "48"]
        code = main(["backtest", *asked, "--models", "recent_peak", "--json"])
        server.shutdown()
    said = capsys.readouterr()
    assert code == 0, said.err
    rows = json.loads(said.out)["rows"]
    assert {row["series"] for row in rows} == {"llama"}
    assert 150 < rows[0]["forecasts"] < 290
