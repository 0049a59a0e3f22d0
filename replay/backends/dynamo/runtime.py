"""The way into Dynamo's runtime: one call."""

from __future__ import annotations

import os
from typing import Any

from replay.backends.errors import BackendMissingError

_HINT = (
    "the dynamo backend needs Dynamo's runtime: pip install 'pd-planner[dynamo]', in an "
    "environment of its own (its pydantic is older than the one in constraints.txt)"
)


def run_trace_replay(*, router_queue_threshold: float | None, **arguments: Any) -> Any:  # noqa: ANN401 - Dynamo's own types, which are there only with the wheel
    """Call Dynamo's offline replay of a trace file; BackendMissingError without the wheel.

    At its default level Dynamo's logging takes longer than the replay. It is set on the first
    import, and DYN_LOG of the environment wins.
    """
    os.environ.setdefault("DYN_LOG", "error")
    try:
        from dynamo import _core
    except ImportError as error:
        raise BackendMissingError(_HINT) from error
    if router_queue_threshold is not None:
        arguments["router_config"] = _core.KvRouterConfig(
            router_queue_threshold=router_queue_threshold
        )
    return _core.run_mocker_trace_replay(**arguments)
