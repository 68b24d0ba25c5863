"""Holding a rolling update back while its first pods are judged: what is to be done. Pure.

The mark on the paused Deployment is written together with the pause, so the cluster itself tells
what we hold; whoever starts anew finds it there. Each look decides again, from the mark and from
what became of the watch, so nothing that was interrupted stays behind:

- its watch goes on: it stays held;
- healthy, superseded, rolled back, or another revision is to run: it is let go;
- inconclusive: as the policy says;
- "needs a human": it stays held until a person lets it go, and that is told;
- its watch is not known or not followed any more: it is let go, and that is told.
"""

from dataclasses import dataclass

from actions.hold_settings import HoldSettings
from analyzer.policy import Mode
from analyzer.rollout import Workload
from analyzer.watch import Phase, Watch


@dataclass(frozen=True, slots=True)
class Standing:
    """How a workload stands, as far as holding it is concerned.

    Attributes:
        uid: of the object. template: digest of what it is asked to run.
        current: label of the revision that runs this; None when there is none yet.
        replicas: wanted. ready: pods of the current revision that are ready.
        is_paused: it is paused, by whomever. held_by: the watch in our mark, "" without one.
    """

    workload: Workload
    uid: str
    template: str
    current: str | None
    replicas: int
    ready: int
    is_paused: bool
    held_by: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause it, and mark it with the watch."""

    watch_id: str


@dataclass(frozen=True, slots=True)
class LetGo:
    """Take the mark away, and the pause when it is still there; why, for people.

    ``urgent``: somebody should look.
    """

    watch_id: str
    why: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """Leave it paused; a person has to let it go."""

    watch_id: str
    why: str


Deed = Pause | LetGo | Stay


def release_due(seen: Standing, watch: Watch | None, settings: HoldSettings | None) -> Deed | None:
    """Return what is to be done about something that bears our mark, None when nothing is.

    Args:
        seen: how it stands.
        watch: the one in the mark, if it is followed or is known to be over.
        settings: of the policy, None when it does not hold anything any more.
    """
    by = seen.held_by
    if not seen.is_paused:
        return LetGo(by, "somebody resumed it by hand")
    if watch is None:
        return LetGo(by, "the watch that held it is not followed any more", urgent=True)
    if seen.current != watch.canary.label:
        return LetGo(by, "another revision is to run now")
    if not watch.phase.final:
        return None
    if watch.phase is Phase.NEEDS_HUMAN:
        return Stay(by, f"it is still held, for somebody has to look: {watch.note}")
    if watch.phase is Phase.INCONCLUSIVE and settings is not None and settings.stays:
        return Stay(by, f"it is still held, for nothing was decided: {watch.note}")
    return LetGo(by, f"the watch ended: {watch.phase.value}")


def pause_due(seen: Standing, watch: Watch, settings: HoldSettings) -> Pause | None:
    """Return that a rolling update is to be held now, None when it is not (yet), or too late.

    Args:
        seen: how it stands; it does not bear our mark.
        watch: that of its rollout.
        settings: of the watch's policy.
    """
    is_underway = watch.phase in {Phase.WARMING, Phase.OBSERVING, Phase.HELD}
    if not is_underway or watch.mode is Mode.OBSERVE:
        return None
    if seen.is_paused or seen.current != watch.canary.label:
        return None
    if not settings.enough(seen.replicas) <= seen.ready < seen.replicas:
        return None
    return Pause(watch.id)
