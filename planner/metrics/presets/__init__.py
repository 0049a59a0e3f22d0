"""The presets, one file per serving stack."""

from __future__ import annotations

from planner.metrics.preset import Preset
from planner.metrics.presets import custom, dynamo, sglang, trtllm, vllm, vllm_llmd

_MODULES = (dynamo, vllm_llmd, vllm, sglang, trtllm, custom)

PRESETS: dict[str, Preset] = {module.PRESET.name: module.PRESET for module in _MODULES}
