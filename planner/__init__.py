"""Everything that awaits, reads a clock, or fails for reasons outside us."""
