"""No stack at all: every query comes from `metrics.queries` in the configuration file."""

from __future__ import annotations

from planner.metrics.preset import Preset

PRESET = Preset(name="custom", stack="the configured queries", signals={})
