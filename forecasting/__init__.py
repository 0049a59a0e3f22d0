"""Numbers in, quantiles out: knows no tokens, pods or clocks."""
