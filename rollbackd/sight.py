"""What all rollout sources together say at one look."""

from collections.abc import Sequence

import structlog

from analyzer.ports import RolloutSource
from analyzer.rollout import Rollout
from analyzer.sample import Missing

log = structlog.get_logger()


def sight(sources: Sequence[RolloutSource]) -> tuple[dict[str, Rollout], Missing | None]:
    """Return every rollout by its watch's id, and why some may be out of sight.

    While any source cannot tell its rollouts, nothing must be taken for gone.
    """
    current: dict[str, Rollout] = {}
    untold: Missing | None = None
    for source in sources:
        seen = source.rollouts()
        if isinstance(seen, Missing):
            untold = seen
            log.warning("rollouts unknown", reason=str(seen))
        else:
            current |= {rollout.watch_id: rollout for rollout in seen}
    return current, untold
