import asyncio
import math

import pytest

from planner.clock import AcceleratedClock, Stopwatch, WallClock


async def test_an_infinite_speed_moves_time_without_waiting() -> None:
    clock = AcceleratedClock(math.inf, start_seconds=5.0)
    async with asyncio.timeout(5.0):
        await clock.sleep_until(1e9)
    assert clock.now_seconds() == 1e9


async def test_simulated_time_stands_still_between_sleeps() -> None:
    clock = AcceleratedClock(1e6)
    await clock.sleep_until(10.0)
    await asyncio.sleep(0.001)
    assert clock.now_seconds() == 10.0


async def test_simulated_time_never_goes_back() -> None:
    clock = AcceleratedClock()
    await clock.sleep_until(20.0)
    await clock.sleep_until(10.0)
    assert clock.now_seconds() == 20.0


async def test_a_finite_speed_takes_its_time() -> None:
    clock, watch = AcceleratedClock(speed=1000.0), Stopwatch()
    await clock.sleep_until(50.0)
    assert watch.seconds >= 0.05


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_speed_must_be_above_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        AcceleratedClock(speed)


async def test_the_wall_clock_sleeps_until_its_own_time() -> None:
    clock = WallClock()
    wanted = clock.now_seconds() + 0.02
    await clock.sleep_until(wanted)
    assert clock.now_seconds() >= wanted


async def test_a_boundary_in_the_past_is_no_wait() -> None:
    async with asyncio.timeout(5.0):
        await WallClock().sleep_until(0.0)


class SetBack(WallClock):
    """Set back by an hour after it was read once."""

    def __init__(self) -> None:
        self.readings = iter((10_000.0,))

    def now_seconds(self) -> float:
        return next(self.readings, 6_400.0)


async def test_a_clock_that_is_set_back_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planner.clock._SET_BACK_SECONDS", 0.0)
    async with asyncio.timeout(5.0):
        await SetBack().sleep_until(10_000.02)
