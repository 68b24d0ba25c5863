"""How release trains travel: validated at the edge, and light to import."""

from dataclasses import dataclass
from enum import StrEnum

from analyzer.policy import Mode


class OnFailure(StrEnum):
    """What becomes of the regions that have a release which failed further on."""

    STOP = "stop"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class TrainPolicy:
    """How a release train travels. All times are in seconds.

    Attributes:
        mode: observe says when the next region could be released, approve asks, enforce does it.
        on_failure: what becomes of the regions that have the release already.
        soak_s: how long after the verdict the next region is released at the earliest.
        begin_within_s: a region that was released must show the release within this time.
        blind_after_s: people are told when a region cannot be seen for longer than this.
        approval_expires_s: an approval that has not come by then is void.
    """

    mode: Mode = Mode.OBSERVE
    on_failure: OnFailure = OnFailure.STOP
    soak_s: float = 600.0
    begin_within_s: float = 900.0
    blind_after_s: float = 300.0
    approval_expires_s: float = 86400.0
