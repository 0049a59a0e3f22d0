"""The physics of a simulated prefill/decode fleet. It shares no formula with the policy."""

from replay.plant.plant import Plant
from replay.plant.records import Finished, FirstTokens, ReplicaCounts, Snapshot

__all__ = ["Finished", "FirstTokens", "Plant", "ReplicaCounts", "Snapshot"]
