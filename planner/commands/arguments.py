"""Argument types shared by commands."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path


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


def within(least: float, most: float) -> Callable[[str], float]:
    """A reader of numbers no less than one and no more than the other."""

    def read(text: str) -> float:
        value = positive(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not from {least:g} to {most:g}")
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


def whole(text: str) -> int:
    """Read a whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def output_file(text: str) -> Path:
    """Read where to write; what cannot be written is told before the work, not after it."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: may not be written")
    return path


def port(text: str) -> int:
    """Read a TCP port; 0 takes any free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def rate_scale(text: str) -> float | None:
    """Read a factor above 0; None stands for `auto`."""
    return None if text == "auto" else positive(text)
