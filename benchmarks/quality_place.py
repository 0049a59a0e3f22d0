"""Where a decision is judged: a workload on a fleet, with the default knobs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quality_workloads import RECIPES, Recipe

from policies.config import PolicySettings
from policies.profile import Profile
from replay.compare import Case, Stage
from replay.scene import Lens

USUAL_STARTUP_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """One workload on one kind of fleet; `profile` and `settings` are those of a scarce one.

    Policies see it through the `lens`, or as it is.
    """

    recipe: Recipe
    startup_seconds: float = USUAL_STARTUP_SECONDS
    profile_error: float = 0.0
    seed: int = 0
    profile: Profile | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    lens: Lens | None = None

    def case(self, policy: str, **knobs: float) -> Case:
        """A policy there."""
        role = {"startup_seconds": self.startup_seconds}
        stage = Stage(
            profile=self.profile or self.recipe.profile,
            settings=PolicySettings.model_validate(
                {"prefill": role, "decode": role, **self.settings}
            ),
            profile_error=self.profile_error,
            lens=self.lens,
        )
        return Case(policy=policy, workload=self.recipe, stage=stage, seed=self.seed, knobs=knobs)

    @property
    def key(self) -> str:
        """Names it in the file of bounds."""
        return f"{self.recipe.name} {self.startup_seconds:g} {self.profile_error:g} {self.seed}"


def present(names: Sequence[str]) -> Iterator[Recipe]:
    """Workloads by their names; those whose files are not there are told and left out."""
    for name in names:
        recipe = RECIPES[name]
        if recipe.missing:
            told = ", ".join(recipe.missing)
            print(f"{name} is left out: no {told} in the folder that TRACES names", file=sys.stderr)
        else:
            yield recipe


def known_names(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Read A,B and refuse what is not known; a type of argparse."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(part.strip() for part in text.split(","))
        strange = [name for name in found if name not in known]
        if strange:
            raise argparse.ArgumentTypeError(
                f"no {', '.join(strange)}; there are {', '.join(known)}"
            )
        return found

    return read
