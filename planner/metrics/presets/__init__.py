"""The presets, one file per serving stack."""

from __future__ import annotations

from planner.metrics.preset import Preset
from planner.metrics.presets import dynamo

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (dynamo.PRESET,)}
