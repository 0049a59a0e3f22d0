"""PromQL presets, one file per serving stack."""
