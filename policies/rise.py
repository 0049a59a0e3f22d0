"""A scale-out that was made, so that not all of it is taken back at once."""

from __future__ import annotations

from dataclasses import dataclass

from policies.types import Limiter, PerRole, Role

# Scale-outs of one role that follow each other within this time are one rise.
_ONE_RISE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rise:
    """A scale-out of one role: the size before it, and when the last of it was asked for."""

    at_seconds: float
    before: int

    def floor(self, hold_seconds: float, now_seconds: float) -> int:
        """One replica more than before the rise, for as long as it is held; then 0.

        What a rise brings too many can go at once, but for the last of it, which is the first to be
        needed again. Example: 3 -> 9 -> 4, and 3 only after `hold_seconds`.
        """
        return self.before + 1 if now_seconds - self.at_seconds < hold_seconds else 0


Rises = PerRole[Rise | None]
NEVER_RISEN: Rises = PerRole(None, None)


def called_for(target: PerRole[int], limiters: tuple[Limiter, ...]) -> PerRole[int]:
    """The target without what the ratio alone has added, which goes when the ratio lets it."""
    for limiter in limiters:
        if limiter.name == "keep_ratio":
            return target.zip(limiter.before).map(min)
    return target


def noted(rises: Rises, now_seconds: float, current: PerRole[int], target: PerRole[int]) -> Rises:
    """The last rise of each role, after pools of size `current` were asked to be `target`."""

    def last(role: Role) -> Rise | None:
        rise = rises[role]
        if target[role] <= current[role]:
            return rise
        goes_on = rise is not None and now_seconds - rise.at_seconds <= _ONE_RISE_SECONDS
        return Rise(now_seconds, rise.before if rise and goes_on else current[role])

    return PerRole.of(last)
