"""Dynamo's own replay as a simulator: a second opinion on our plant and our engine.

Needs only the runtime wheel of Dynamo (extra `dynamo`); docs/simulator.md lists what the two
simulators model differently.
"""

from replay.backends.dynamo.run import play

__all__ = ["play"]
