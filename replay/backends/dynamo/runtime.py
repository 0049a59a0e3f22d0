"""The way into Dynamo's runtime: one call, with its logging kept down."""

from __future__ import annotations

import os
from typing import Any

from replay.backends.missing import BackendMissing

_HINT = (
    "the dynamo backend needs Dynamo's runtime: pip install 'pd-planner[dynamo]' "
    "in an environment of its own (its pydantic is older than the one in constraints.txt)"
)


def run_trace_replay(**arguments: Any) -> Any:  # noqa: ANN401 - Dynamo's types, where it is there
    """Call Dynamo's offline replay of a trace file; BackendMissing without the wheel.

    Its logging, at the default level, takes longer than the replay. DYN_LOG of the environment wins.
    """
    os.environ.setdefault("DYN_LOG", "error")
    try:
        from dynamo._core import run_mocker_trace_replay
    except ImportError as error:
        raise BackendMissing(_HINT) from error
    return run_mocker_trace_replay(**arguments)
