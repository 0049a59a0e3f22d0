"""How long the answers to what arrives now will be, told from the answers that end now."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from policies.lengths import Lengths

_MOST = 4.0  # what is known of arrivals back then is an average over a window: no bold weights


def as_arrived(
    ended: Lengths,
    seconds: Sequence[float],
    requests_per_second: Sequence[float],
    seconds_per_token: float,
) -> Lengths:
    """Undo the lag and the length bias of completions while the load changes.

    An answer of o tokens that ends now began o times `seconds_per_token` ago. While arrivals rise,
    short answers to the many requests of late end beside long ones to the few of before, so the
    mean of what ends is too low. Each length is weighed by how many arrive now over how many
    arrived when it began. Example at 25 ms a token, 10 requests per second until two minutes ago
    and 20 since: answers of 6,000 tokens that end now are half as many as those to come.

    `requests_per_second` are the arrivals at `seconds`, ascending; before the first of them they
    are taken to have been the same.
    """
    now = requests_per_second[-1] if requests_per_second else 0.0
    if now <= 0.0:
        return ended

    def weight(tokens: float) -> float:
        began = seconds[-1] - tokens * seconds_per_token
        place = max(bisect_right(seconds, began) - 1, 0)
        then = requests_per_second[place]
        return min(max(now / then, 1.0 / _MOST), _MOST) if then > 0.0 else 1.0

    return ended.weighed(weight)
