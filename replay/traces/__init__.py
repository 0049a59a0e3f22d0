"""Traces of real and generated requests, one reader per format."""

from replay.traces.registry import open_trace
from replay.traces.trace import Trace, TraceError, of_requests

__all__ = ["Trace", "TraceError", "of_requests", "open_trace"]
