"""`planner recommend`: the pair of pools for a steady load, without a cluster."""

from __future__ import annotations

import argparse
from functools import partial

from planner.api.recommendation import (
    MOST_CV,
    MOST_REQUESTS_PER_SECOND,
    MOST_SECONDS,
    MOST_TOKENS,
    Recommendation,
)
from planner.commands.arguments import positive_int, share, up_to, within
from planner.config import DEFAULT_PROFILE, load_profile
from planner.errors import UserError
from planner.explain import expectations, reasons
from policies.config import PolicySettings, Slo
from policies.coupling import Solution
from policies.foresight import Foresight
from policies.lengths import Lengths
from policies.ratio import LEAST_RATIO, MOST_RATIO, RatioRange
from policies.recommend import recommend
from policies.types import Prospect


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The load, the objective, the budget and the ratio."""
    slo = Slo()
    add = parser.add_argument
    load = partial(add, required=True, metavar="N")
    load("--requests-per-second", type=up_to(MOST_REQUESTS_PER_SECOND), help="offered load")
    load("--input-tokens", type=up_to(MOST_TOKENS), help="mean prompt length")
    load("--output-tokens", type=up_to(MOST_TOKENS), help="mean generated length")
    add(
        "--input-cv",
        type=up_to(MOST_CV),
        metavar="X",
        default=PolicySettings().input_length_cv,
        help="spread of prompt lengths, standard deviation over mean (default %(default)s)",
    )
    objective = partial(add, type=up_to(MOST_SECONDS), metavar="SECONDS")
    objective("--ttft", default=slo.ttft_seconds, help="time to first token (default %(default)s)")
    objective(
        "--ttft-per-input-token",
        default=slo.ttft_seconds_per_input_token,
        help="added to --ttft for each prompt token (default: a flat objective)",
    )
    objective("--itl", default=slo.itl_seconds, help="inter-token latency (default %(default)s)")
    add(
        "--attainment",
        type=share,
        metavar="SHARE",
        default=slo.attainment_fraction,
        help="share of requests that must meet both (default %(default)s)",
    )
    add("--gpu-budget", type=positive_int, metavar="N", help="most GPUs for both pools together")
    ratio = partial(add, type=within(LEAST_RATIO, MOST_RATIO), metavar="RATIO")
    ratio("--min-prefill-per-decode", help="least prefill replicas per decode replica")
    ratio("--max-prefill-per-decode", help="most prefill replicas per decode replica")
    add(
        "--profile",
        default=DEFAULT_PROFILE,
        help="built-in name, or a path (default %(default)s)",
    )
    add("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Solve and print; exit code 1 when no pair meets the objective."""
    profile = load_profile(args.profile)
    slo = Slo(
        ttft_seconds=args.ttft,
        ttft_seconds_per_input_token=args.ttft_per_input_token,
        itl_seconds=args.itl,
        attainment_fraction=args.attainment,
    )
    settings = PolicySettings(slo=slo, gpu_budget=args.gpu_budget, ratio=_ratio(args))
    solution = recommend(
        profile,
        settings,
        requests_per_second=args.requests_per_second,
        input_tokens=Lengths.lognormal(args.input_tokens, args.input_cv),
        output_tokens=Lengths.lognormal(args.output_tokens),
    )
    prospect = Foresight.steady(solution.capacity)(solution.replicas)
    if args.json:
        print(Recommendation.of(solution, prospect, profile.name).model_dump_json())
    else:
        print(_text(solution, prospect, profile.name))
    return 0 if solution.feasible else 1


def _ratio(args: argparse.Namespace) -> RatioRange:
    least, most = args.min_prefill_per_decode, args.max_prefill_per_decode
    if least is not None and most is not None and least > most:
        raise UserError(
            f"--min-prefill-per-decode {least:g} is above --max-prefill-per-decode {most:g}"
        )
    return RatioRange(min_prefill_per_decode=least, max_prefill_per_decode=most)


def _text(solution: Solution, prospect: Prospect, profile: str) -> str:
    """The size, and each of its reasons on a line of its own."""
    pair, slo = solution.replicas, solution.capacity.settings.slo
    size = f"prefill {pair.prefill}, decode {pair.decode}: {solution.gpus} GPUs under {profile}"
    why = reasons(solution.binding, prospect, slo)
    missing = [f"short of the objective: {solution.shortfall}"] if solution.shortfall else []
    return "\n".join([size, *why, *missing, *expectations(prospect, slo)])
