"""A survey as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from replay.traces.survey import Survey


def draw(survey: Survey, title: str, path: Path) -> None:
    """Write a picture of rate, load per role and P:D ratio over time; the suffix names the format.

    Raises ImportError without matplotlib, OSError or ValueError when the path cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 7), layout="constrained")
    rate, load, ratio = figure.subplots(3, sharex=True)
    hours = np.arange(len(survey.rate_series)) * survey.window_seconds / 3600
    rate.step(hours, survey.rate_series, where="post")
    rate.set(ylabel="requests/s", title=title)
    for role, series in survey.load_series.items():
        load.step(hours[: len(series)], series, where="post", label=role.value)
    load.set(ylabel="busy replicas")
    load.legend()
    known = [np.nan if value is None else value for value in survey.p_d_ratio_series]
    ratio.step(hours[: len(known)], known, where="post", color="tab:green")
    ratio.set(ylabel="P:D load ratio", xlabel="hours", ylim=(0, None))
    figure.savefig(path)
