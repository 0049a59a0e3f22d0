"""Series that several tests share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from forecasting.series import Series

HALF_HOUR = 1800.0


@pytest.fixture
def daily() -> Callable[..., Series]:
    """Days at half-hour cells: a daily wave around 100 with noise, by seed."""

    def make(days: float = 6, noise: float = 0.03, seed: int = 0) -> Series:
        random = np.random.default_rng(seed)
        cells = np.arange(int(days * 48))
        wave = 100 * (1 + 0.6 * np.sin(2 * np.pi * cells / 48))
        return Series(0.0, HALF_HOUR, wave * np.exp(noise * random.standard_normal(len(cells))))

    return make
