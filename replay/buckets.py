"""The bucket edges of the histograms that serving stacks export."""

from __future__ import annotations

from dataclasses import dataclass

Edges = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The edges of one stack. A quantile is known no finer than they stand."""

    input_tokens: Edges
    output_tokens: Edges
    ttft_seconds: Edges
    itl_seconds: Edges


# As the front end of version 1.6.1 shows them.
DYNAMO = Layout(
    input_tokens=(0, 100, 210, 430, 870, 1800, 3600, 7400, 15000, 31000, 63000, 130000),
    output_tokens=(0, 100, 210, 430, 880, 1800, 3700, 7600, 16000, 32000),
    ttft_seconds=(
        *(0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47),
        *(1, 2.2, 4.7, 10, 22, 48, 100, 220, 480),
    ),
    itl_seconds=(
        *(0, 0.0018, 0.0033, 0.0059, 0.011, 0.02, 0.035, 0.064, 0.12, 0.21, 0.38, 0.69),
        *(1.2, 2.3, 4.1, 7.4, 13, 24, 44, 80),
    ),
)

# Version 0.33. Token lengths have edges of 1, 2 and 5 times the powers of ten, up to the longest
# context, here 131,072. TensorRT-LLM has the same edges for times, and none for lengths.
_ONE_TWO_FIVE = tuple(
    float(digit * 10**power) for power in range(6) for digit in (1, 2, 5) if digit * 10**power < 2e5
)
VLLM = Layout(
    input_tokens=_ONE_TWO_FIVE,
    output_tokens=_ONE_TWO_FIVE,
    ttft_seconds=(
        *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
    ),
    itl_seconds=(
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
        *(1, 2.5, 5, 7.5, 10, 20, 40, 80),
    ),
)

# Version 0.5.23; lengths with --collect-tokens-histogram.
SGLANG = Layout(
    input_tokens=(
        *(100, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000),
        *(10000, 12000, 15000, 20000, 22000, 25000, 30000, 35000, 40000),
    ),
    output_tokens=(
        *(100, 300, 500, 1000, 1200, 1500, 1700, 2000, 2500, 3000, 3500, 4000, 4500, 5000),
        *(6000, 7000, 8000, 9000, 10000),
    ),
    ttft_seconds=(0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400),
    itl_seconds=(
        *(0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06),
        *(0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8),
    ),
)

# Of a KV hand-off, as vLLM with NIXL shows it.
TRANSFER_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5)
TRANSFER_BYTES: Edges = tuple(2.0**power for power in range(11, 34))


def _together(*layouts: Edges) -> Edges:
    return tuple(sorted({edge for layout in layouts for edge in layout}))


# Every edge of every stack, so that a count kept on these can be shown on any stack's exactly.
FINEST = Layout(
    input_tokens=_together(DYNAMO.input_tokens, VLLM.input_tokens, SGLANG.input_tokens),
    output_tokens=_together(DYNAMO.output_tokens, VLLM.output_tokens, SGLANG.output_tokens),
    ttft_seconds=_together(DYNAMO.ttft_seconds, VLLM.ttft_seconds, SGLANG.ttft_seconds),
    itl_seconds=_together(DYNAMO.itl_seconds, VLLM.itl_seconds, SGLANG.itl_seconds),
)
