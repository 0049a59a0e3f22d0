"""Backtests drawn for people: the fan against the truth, and which models were used when."""

from __future__ import annotations

from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from planner.backtesting import Result

_COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#999999",
    "#000000",
)
"""Okabe and Ito's palette, which people with any colour vision can tell apart."""


def page(results: list[Result]) -> str:
    """One self-contained HTML page; the charts need no network."""
    parts = []
    for number, result in enumerate(results):
        chart = figure(result).to_html(full_html=False, include_plotlyjs=number == 0)
        parts.append(f"<h2>{escape(result.name)}</h2>{_table(result)}{chart}")
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        "<title>Backtest</title><style>body{font:15px system-ui;max-width:72rem;margin:2rem auto;"
        "padding:0 1rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right}"
        "td:first-child,th:first-child{text-align:left}tr:last-child{font-weight:600}</style>"
        f"</head><body><h1>Backtest</h1>{body}</body></html>"
    )


def figure(result: Result) -> go.Figure:
    """The upper quantile and the centre over the truth; below them the ensemble's weights."""
    chart = make_subplots(
        rows=2, cols=1, shared_xaxes=True, row_heights=[0.75, 0.25], vertical_spacing=0.05
    )
    steps = result.steps
    settings = steps[0].tracker.settings
    ahead = settings.target.first_step * settings.step_seconds / 3600
    hours = np.array([s.tracker.history.end_seconds / 3600 for s in steps]) + ahead
    hours -= hours[0]
    forecasts = [step.tracker.forecast for step in steps]
    uppers = [forecast.upper for forecast in forecasts]
    grey = {"color": "#0072B2", "width": 1}
    name = f"{settings.fraction:.0%} quantile"
    chart.add_scatter(x=hours, y=[f.centre for f in forecasts], name="centre", line=grey)
    chart.add_scatter(
        x=hours, y=uppers, name=name, fill="tonexty", line={"color": "#56B4E9", "width": 1}
    )
    chart.add_scatter(
        x=hours, y=[s.truth for s in steps], name="what came", line={"color": "black", "width": 1}
    )
    for model, colour in zip(settings.names, _COLOURS * len(settings.names), strict=False):
        shares = [forecast.weights.get(model, 0.0) for forecast in forecasts]
        if any(shares):
            chart.add_scatter(
                x=hours,
                y=shares,
                name=model,
                stackgroup="weights",
                row=2,
                col=1,
                line={"width": 0, "color": colour},
            )
    chart.update_xaxes(title_text="hours", row=2, col=1)
    chart.update_yaxes(title_text="requests/s", row=1, col=1)
    chart.update_yaxes(title_text="weight", range=[0, 1], row=2, col=1)
    chart.update_layout(template="plotly_white", height=560, margin={"t": 20})
    return chart


def _table(result: Result) -> str:
    columns = [key for key in result.rows[0] if key != "series"]
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell(row[column]))}</td>" for column in columns) + "</tr>"
        for row in result.rows
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def cell(value: object) -> str:
    """A number with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
