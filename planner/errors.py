"""Errors that are the user's to mend, told without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Bad input: the message says what is wrong, where, and what would be right; exit code 2."""
