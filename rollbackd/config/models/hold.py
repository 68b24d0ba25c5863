"""``hold``: a rolling update is paused after its first new pods until it is judged."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from actions.hold_settings import HoldSettings
from rollbackd.config.models.base import Model
from rollbackd.config.quantities import fault, parse_share, shown


class Afterwards(StrEnum):
    """What becomes of a rollout that nothing was decided about."""

    RESUME = "resume"
    STAY = "stay"


def _pods(value: object) -> int | float:
    """Return a count of pods, or a share of them between 0 and 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and re.fullmatch(r"[\d.]+ ?%", value):
        return parse_share(value)
    raise fault(f"{shown(value)} is no number of pods", 'such as 1, or "10%" of those wanted')


class HoldModel(Model):
    """Pause the Deployment after its first new pods, judge them, then resume or roll back."""

    pods: Annotated[
        int | float,
        BeforeValidator(_pods),
        WithJsonSchema({"type": ["integer", "string"], "examples": [1, "10%"]}),
    ] = 1
    """So many new pods must be ready: a number, or a share such as "10%"; never all of them."""
    inconclusive: Afterwards = Afterwards.RESUME
    """When nothing is decided within the horizon: resume, or stay until a person lets it go."""

    def settings(self) -> HoldSettings:
        """Return the frozen settings."""
        stays = self.inconclusive is Afterwards.STAY
        if isinstance(self.pods, int):
            return HoldSettings(pods=self.pods, stays=stays)
        return HoldSettings(share=self.pods, stays=stays)
