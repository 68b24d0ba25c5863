"""What watches say about the region that they are in."""

from collections.abc import Mapping, Sequence

from analyzer.judge import Verdict
from analyzer.watch import NOT_HELPED, Phase
from rollbackd.views import WatchView


def causes_of(views: Sequence[WatchView], clusters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return, by region, what a watch in one of its clusters says against the region.

    A shared incident means that the old version is worse than it was, too; a rollback that did not
    help means that it was not the release. Neither proves that the region is sick: that is for the
    region's own evidence; but with it, there is nothing left to wait for.

    Args:
        views: what is watched.
        clusters: in each region.
    """
    found: dict[str, str] = {}
    for region, inside in clusters.items():
        for view in views:
            if view.id.split("/", 1)[0] not in inside:
                continue
            why = _cause(view)
            if why:
                found.setdefault(region, why)
    return found


def _cause(view: WatchView) -> str:
    if view.phase == Phase.HELD.value and view.verdict == Verdict.SHARED_INCIDENT.value:
        return f"shared incident in {view.workload}"
    failed = view.phase == Phase.NEEDS_HUMAN.value
    if failed and any(NOT_HELPED in item.text for item in view.timeline[-1:]):
        return f"the rollback of {view.workload} did not help"
    return ""
