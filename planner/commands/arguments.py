"""Argument types shared by commands."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def positive(text: str) -> float:
    """Read a finite number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def up_to(most: float) -> Callable[[str], float]:
    """A reader of numbers above 0 that are no larger than any that is meant."""

    def read(text: str) -> float:
        value = positive(text)
        if value > most:
            raise argparse.ArgumentTypeError(f"{text!r} is above {most:g}")
        return value

    return read


def share(text: str) -> float:
    """Read a share, above 0 and below 1."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and below 1")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def positive_int(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def port(text: str) -> int:
    """Read a TCP port; 0 takes any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def rate_scale(text: str) -> float | None:
    """Read a factor above 0; None stands for `auto`."""
    return None if text == "auto" else positive(text)
