"""Outcomes of requests on their way from the event loop's rows to the plant's user."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from replay.plant.records import Finished, FirstTokens, Floats
from replay.plant.state import FINISHED_ROWS, FIRST_ROWS, State


class Outcomes:
    """Rows collected since they were last taken."""

    def __init__(self) -> None:
        self._first_tokens: list[Floats] = []
        self._finished: list[Floats] = []

    def collect(self, state: State) -> None:
        """Copy the rows that the event loop has noted, and empty them."""
        self._first_tokens.append(_block(state.first_tokens, state.counts[FIRST_ROWS]))
        self._finished.append(_block(state.finished, state.counts[FINISHED_ROWS]))
        state.counts[FIRST_ROWS] = 0
        state.counts[FINISHED_ROWS] = 0

    def forget_first_tokens(self, slots: Collection[int], now_seconds: float) -> None:
        """Drop the first tokens that requests in these slots were about to get."""
        rows = np.concatenate(self._first_tokens, axis=1)
        dropped = np.isin(rows[0], list(slots)) & (rows[2] > now_seconds)
        self._first_tokens = [rows[:, ~dropped]]

    def take_first_tokens(self, now_seconds: float) -> FirstTokens:
        """First tokens up to now; those of the iterations in progress stay for the next time."""
        rows = np.concatenate(self._first_tokens, axis=1)
        past = rows[2] <= now_seconds
        self._first_tokens = [rows[:, ~past]]
        _, arrival, first_token, input_tokens = rows[:, past]
        return FirstTokens(
            arrival_seconds=arrival, ttft_seconds=first_token - arrival, input_tokens=input_tokens
        )

    def take_finished(self) -> Finished:
        """Requests finished up to now."""
        rows = np.concatenate(self._finished, axis=1)
        self._finished = []
        arrival, finished, first_token, input_tokens, output_tokens = rows
        return Finished(
            arrival_seconds=arrival,
            finished_seconds=finished,
            ttft_seconds=first_token - arrival,
            # A request of one token ends with its first token: 0 / 1.
            itl_seconds=(finished - first_token) / np.maximum(output_tokens - 1, 1),
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )


def _block(columns: Sequence[Sequence[float]], rows: int) -> Floats:
    return np.array([column[:rows] for column in columns], dtype=np.float64)
