"""Sessions of agents: recognised, to say why they are no trace of arrivals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from replay.traces.records import head_object
from replay.traces.source import Source
from replay.traces.trace import Trace, TraceError


@dataclass(frozen=True, slots=True)
class ClosedLoop:
    """WEKA's agentic sessions: each request waits for the answer to the one before."""

    name: str = "sessions"
    looks_for: str = "sessions with their own hash ids (WEKA): recognised, but not replayed"

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look for a session with its requests inside."""
        del path
        return {"requests", "hash_id_scope"} <= head_object(head).keys()

    def trace(self, source: Source) -> Trace:
        """Refuse, with the reason."""
        raise TraceError(
            f"{source.path}: holds sessions in a closed loop, not arrivals: times count from each "
            "session's start, block ids hold within one session, and a request waits for the "
            "answer before it, so that fewer replicas would seem to bring less load"
        )
