"""Comparisons for people: a table, a page with charts, a picture."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from replay.compare import Moment, Run
from replay.standings import Row, unswept
from replay.traces.trace import skipped_lines

Cell = Callable[[Row], str]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}%"


def _number(value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format(value, form)


COLUMNS: tuple[tuple[str, Cell], ...] = (
    ("policy", lambda row: row.policy),
    ("attains", lambda row: _share(row.joint_attainment)),
    ("TTFT", lambda row: _share(row.ttft_attainment)),
    ("ITL", lambda row: _share(row.itl_attainment)),
    ("TTFT p95 s", lambda row: _number(row.ttft_p95_seconds, ".3g")),
    ("ITL p95 ms", lambda row: _number(row.itl_p95_seconds and 1000 * row.itl_p95_seconds, ".3g")),
    ("GPU-hours", lambda row: _number(row.gpu_hours)),
    ("/bound", lambda row: _number(row.gpu_hours_over_bound)),
    ("events/h", lambda row: _number(row.scaling_events_per_hour, ".1f")),
    ("P:D", lambda row: _number(row.p_d_ratio_mean)),
)
AT_OBJECTIVE: tuple[str, Cell] = (
    "/bound at objective",
    lambda row: _number(row.gpu_hours_over_bound_at_objective),
)


def _columns(rows: Sequence[Row]) -> tuple[tuple[str, Cell], ...]:
    swept = any(row.gpu_hours_at_objective is not None for row in rows)
    return (*COLUMNS, AT_OBJECTIVE) if swept else COLUMNS


def table_text(rows: Sequence[Row]) -> str:
    """One block per trace, a line per policy; `*` marks those that miss the objective."""
    blocks = []
    for trace, own in _by_trace(rows).items():
        columns = _columns(rows)
        cells = [[title for title, _ in columns]]
        cells += [[cell(row) for _, cell in columns] for row in own]
        for row, line in zip(own, cells[1:], strict=True):
            line[1] += " " if row.attains else "*"
        cells[0][1] += " "
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                text.ljust(width) if index == 0 else text.rjust(width)
                for index, (text, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in cells
        ]
        blocks.append("\n".join([f"{trace}: {own[0].requests:,} requests", *lines]))
    if not all(row.attains for row in rows):
        blocks.append("* misses the objective")
    return "\n\n".join(blocks)


def run_text(told: Mapping[str, Any]) -> str:
    """One run in a few lines."""
    itl = told["itl_p95_seconds"]
    lines = [
        f"{told['policy']} on {told['trace']} (rate x {told['rate_scale']:g}): ",
        f"{told['requests']:,} requests\n",
        *(f"{line}\n" for line in skipped_lines(told["bad_lines"], told["bad_line_examples"])),
        f"  under {told['configuration']}\n",
        f"attained {_share(told['joint_attainment'])} of requests: ",
        f"TTFT {_share(told['ttft_attainment'])}, ITL {_share(told['itl_attainment'])}\n",
        f"TTFT p95 {_number(told['ttft_p95_seconds'], '.3g')} s, ",
        f"ITL p95 {_number(itl and 1000 * itl, '.3g')} ms\n",
        f"{told['gpu_hours']:.2f} GPU-hours, {told['scaling_events']} scaling events, ",
        f"P:D {_number(told['p_d_ratio_mean'])} on average\n",
        f"{told['wall_seconds']:.1f} s, ",
        f"{told['simulated_requests_per_second']:,.0f} requests/s simulated",
    ]
    return "".join(lines)


def html_page(rows: Sequence[Row], runs: Sequence[Run], heading: str) -> str:
    """One page that needs no network: tables, and charts with plotly.js inside."""
    parts: list[str] = []
    for trace, own in _by_trace(rows).items():
        plain = unswept([run for run in runs if run.case.workload.name == trace])
        shown = [run for run in plain if run.case.seed == plain[0].case.seed]
        parts.append(f"<h2>{html.escape(trace)}</h2>{_html_table(own)}")
        parts += [
            _figure(figure, first=not index and len(parts) == 1)
            for index, figure in enumerate((_price_figure(own), _time_figure(shown)))
        ]
    body = "\n".join(parts)
    told = html.escape(heading).replace("\n", "<br>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Policies compared</title><style>{_STYLE}</style></head>"
        f"<body><h1>Policies compared</h1><p>{told}</p>{body}</body></html>"
    )


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;"
    "border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    ".missed{color:#a33}"
)


def _html_table(rows: Sequence[Row]) -> str:
    columns = _columns(rows)
    head = "".join(f"<th>{html.escape(title)}</th>" for title, _ in columns)
    lines = []
    for row in rows:
        cells = "".join(f"<td>{html.escape(cell(row))}</td>" for _, cell in columns)
        lines.append(f"<tr{'' if row.attains else ' class=missed'}>{cells}</tr>")
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
        "<p>Red: misses the objective.</p>"
    )


def _figure(figure: Any, *, first: bool) -> str:  # noqa: ANN401 - plotly is not typed
    """Only the first figure of a page carries the library."""
    return str(figure.to_html(full_html=False, include_plotlyjs=first))


def _price_figure(rows: Sequence[Row]) -> Any:  # noqa: ANN401 - plotly is not typed
    import plotly.graph_objects as go

    figure = go.Figure()
    for row in rows:
        figure.add_scatter(
            x=[row.gpu_hours],
            y=[row.joint_attainment],
            name=row.policy,
            mode="markers",
            marker={"size": 12, "symbol": "circle" if row.attains else "x"},
        )
    lowest = min(row.joint_attainment or 0.0 for row in rows)
    figure.update_layout(
        title="What it costs and what it attains: up and left is better",
        xaxis={"title": "GPU-hours, start-up included", "rangemode": "tozero"},
        yaxis={
            "title": "requests that meet TTFT and ITL",
            "tickformat": ".0%",
            "range": [min(lowest, 0.9) - 0.03, 1.02],
        },
        height=420,
    )
    return figure


_SERIES: tuple[tuple[str, Callable[[Moment], float | None]], ...] = (
    ("requests/s", lambda moment: moment.requests_per_second),
    ("prefill replicas", lambda moment: moment.ready.prefill),
    ("decode replicas", lambda moment: moment.ready.decode),
    (
        "P:D",
        lambda moment: moment.ready.prefill / moment.ready.decode if moment.ready.decode else None,
    ),
    ("KV backlog, requests", lambda moment: moment.kv_backlog_requests),
)


def _time_figure(runs: Sequence[Run]) -> Any:  # noqa: ANN401 - plotly is not typed
    import plotly.colors
    from plotly.subplots import make_subplots

    titles = [title for title, _ in _SERIES]
    figure = make_subplots(rows=len(_SERIES), shared_xaxes=True, subplot_titles=titles)
    colours = plotly.colors.qualitative.Dark24
    for index, run in enumerate(runs):
        hours = [moment.seconds / 3600 for moment in run.timeline]
        for row, (_, value) in enumerate(_SERIES, start=1):
            figure.add_scatter(
                x=hours,
                y=[value(moment) for moment in run.timeline],
                name=run.case.policy,
                legendgroup=run.case.policy,
                showlegend=row == 1,
                line={"shape": "hv", "width": 1.5, "color": colours[index % len(colours)]},
                row=row,
                col=1,
            )
    figure.update_xaxes(title="hours", row=len(_SERIES), col=1)
    figure.update_layout(height=1100, title="Over time; click a name to hide it")
    return figure


def png_chart(rows: Sequence[Row], path: Path) -> None:
    """Draw attainment over GPU-hours, a panel per trace; ModuleNotFoundError without matplotlib."""
    from matplotlib.figure import Figure

    traces = _by_trace(rows)
    figure = Figure(figsize=(9.0, 4.5 * len(traces)), layout="constrained")
    panels = figure.subplots(len(traces), squeeze=False)[:, 0]
    for panel, (trace, own) in zip(panels, traces.items(), strict=True):
        for row in own:
            attained = 100 * (row.joint_attainment or 0.0)
            mark = "o" if row.attains else "x"
            panel.plot(row.gpu_hours, attained, mark, markersize=8, label=row.policy)
        panel.set(title=trace, xlabel="GPU-hours", ylabel="requests within TTFT and ITL, %")
        panel.set_xlim(left=0)
        panel.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    figure.savefig(path, format="png", dpi=150)


def _by_trace(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.trace, []).append(row)
    return found
