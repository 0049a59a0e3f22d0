"""The simulators that a scene can be played in; the first is ours, the others are second opinions.

One backend is one file or folder plus one line in `BACKENDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from replay.backends import dynamo
from replay.backends.errors import BackendMissingError
from replay.scene import Scene
from replay.scoring import Score
from replay.simulator import Policy, Step

__all__ = ["BACKENDS", "NATIVE", "Backend", "BackendMissingError"]


class Backend(Protocol):
    """Runs a policy from the first request to the last token, as `Scene.play` does."""

    def __call__(
        self,
        scene: Scene,
        policy: Policy,
        /,
        *,
        tick_seconds: float | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> Score:
        """Play; BackendMissingError when the simulator is not installed."""


NATIVE = "native"

BACKENDS: dict[str, Backend] = {
    NATIVE: Scene.play,
    "dynamo": dynamo.play,
}
