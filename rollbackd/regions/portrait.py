"""What people are shown of a region: in the shape of a watch, so every notifier can tell of it."""

from collections.abc import Sequence

from analyzer.policy import Mode
from analyzer.regions.life import Region, RegionPhase
from rollbackd.decisions import Verb
from rollbackd.views import TimelineItem, WatchView

KIND = "region-view"
"""Kind of the journal's entries that hold what was shown of a region."""
POLICY = "(regions)"
"""Stands where a watch has its policy's name; no policy can be called so."""
_PLACE = "regions/dns/Region"


def view_id(region: str) -> str:
    """Return the id that decisions and links name a region by."""
    return f"{_PLACE}/{region}@{region}"


def region_of(id_: str) -> str | None:
    """Return the region that an id of ours names, None for every other id."""
    place, _, region = id_.rpartition("@")
    return region if place == f"{_PLACE}/{region}" and region else None


def portray(
    region: Region, others: Sequence[Region], mode: Mode, timeline: Sequence[TimelineItem]
) -> WatchView:
    """Return the snapshot of a region.

    Args:
        region: as it stands.
        others: the other regions.
        mode: in which regions are moved.
        timeline: what happened in this episode.
    """
    planned = region.phase.moving or region.phase.waiting
    return WatchView(
        id=view_id(region.name),
        workload=region.name,
        canary=region.name,
        baseline=", ".join(other.name for other in others),
        policy=POLICY,
        mode=mode.value,
        phase=region.phase.value,
        verdict=region.standing.value,
        reasons=(region.text,),
        evidence=0.0,
        limit=1.0,
        started_at=timeline[0].at if timeline else region.since,
        updated_at=timeline[-1].at if timeline else region.since,
        final=region.phase is RegionPhase.NORMAL,
        outlook=traffic(region, others),
        plan=region.note if planned else None,
        signals=(),
        timeline=tuple(timeline),
        plan_key=region.plan_key,
        turn=region.turn,
        since=region.since,
        note=region.note,
        decided_by=region.ordered_by,
        offered=tuple(verb.value for verb in offered(region)),
    )


def offered(region: Region) -> tuple[Verb, ...]:
    """Return what can be decided about a region in its present state."""
    if region.phase.moving:
        return ()
    if region.phase.waiting:
        return (Verb.APPROVE, Verb.REJECT)
    move = Verb.FAIL_BACK if region.away else Verb.FAIL_OVER
    stuck = region.phase in {RegionPhase.NEEDS_HUMAN, RegionPhase.REPORTED}
    return (move, Verb.FOLLOW) if stuck else (move,)


def traffic(region: Region, others: Sequence[Region]) -> str:
    """Say where a region's traffic goes."""
    takers = ", ".join(other.name for other in others if not other.away) or "nowhere"
    stage = f"stage {region.stage} of {region.stages} is done" if region.stages else ""
    match region.phase:
        case RegionPhase.FAILING_OVER:
            return f"its traffic is moving to {takers}; {stage}"
        case RegionPhase.FAILING_BACK:
            return f"its traffic is coming back; {stage}"
        case _ if region.away:
            return f"its traffic goes to {takers}"
        case _:
            return "it has its traffic"
