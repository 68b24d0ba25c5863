"""Facts of the cluster: the canary's instances crash, cannot start, or do not become ready.

An instance that never becomes ready has no metrics, so no comparison would ever find it. What the
cluster says of it needs no statistics, but three precautions, for the canary is not the only thing
that can be wrong with an instance:

* *It lasts.* One restart, one memory kill or a slow start is nothing; only what is seen at every
  look for a while counts.
* *It is the revision's.* Instances on their way out (evicted, drained, scaled down) do not count,
  nor does a node that is out of touch: only containers of which their own node says so.
* *It is the canary's alone.* Most of the canary's instances are in distress, and the baseline's,
  which run on the same nodes beside the same services, are well at the same time.

What nobody says is never distress of the canary; on the baseline it counts as distress, for a
baseline that we know nothing of cannot acquit the rest of the world.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from analyzer.policy import Policy
from analyzer.rollout import Instance, Rollout, Side
from analyzer.wording import duration

RESTARTS = 2
"""Restarts of an instance from which on they are a pattern: one may be anybody's."""
SETBACKS = 3
"""Losses of readiness within ``SETBACKS_S`` from which on they are a pattern."""
SETBACKS_S = 600.0
"""Time after which Kubernetes, too, forgets that a container crashed."""
MOST = 0.5
"""Share of the canary's instances that must be in distress: a single one may be on a bad node."""
SPARED = 0.1
"""Share of the baseline's instances that may be unwell while the baseline counts as well."""
LOOKS = 3
"""Looks that must agree, however long they take: after a gap, two are not a course of things."""
UNPAIRED = 3.0
"""How many times longer distress must last when no baseline instance is left to compare with."""
OUT_OF_MEMORY = "OOMKilled"

Key = tuple[Side, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Course:
    """What was seen of one instance over time.

    Attributes:
        restarts, ready: at the last look. was_ready: at any look.
        restarted_at: looks at which a container that had been ready was found restarted.
        lost_at: looks at which readiness was found lost, restarts included.
    """

    restarts: int
    ready: bool
    was_ready: bool
    restarted_at: tuple[float, ...] = ()
    lost_at: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """One side at one look.

    Attributes:
        present: instances that are there and not on their way out.
        ailing: how many of them are in distress, by what it is called.
        unwell: how many are in distress, not ready or unknown.
        restarts: of the instance that has the most.
    """

    present: int = 0
    ailing: Mapping[str, int] = field(default_factory=dict)
    unwell: int = 0
    restarts: int = 0

    @property
    def distressed(self) -> int:
        """How many instances are in distress."""
        return sum(self.ailing.values())

    @property
    def is_mostly_distressed(self) -> bool:
        """Whether at least half of the instances are in distress."""
        return self.distressed > 0 and self.distressed >= MOST * self.present

    @property
    def is_well(self) -> bool:
        """Whether instances are there and (nearly) all of them are well."""
        return self.present > 0 and self.unwell <= SPARED * self.present


class Standing(StrEnum):
    """What the facts amount to."""

    QUIET = "quiet"
    """There is nothing to tell."""
    SUSPECTED = "suspected"
    """The canary is in distress, and it is too early or too unclear to say why."""
    ACCUSED = "accused"
    """The canary alone has been in distress for long enough."""
    SHARED = "shared"
    """Both sides are in distress: not the canary's fault alone."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the cluster says, for the judge.

    Attributes:
        text: one sentence with numbers; "" when there is nothing to tell.
        warm: instances of the canary that count now; None when that is not known.
    """

    standing: Standing = Standing.QUIET
    text: str = ""
    warm: int | None = None


@dataclass(frozen=True, slots=True)
class Distress:
    """What the looks at one rollout's instances have shown so far.

    Attributes:
        at: time of the last look, in seconds since the epoch.
        canary, baseline: both sides then.
        since: since when, at every look, the canary alone has been in distress; None: it is not.
        looks: how many looks that is.
        both_since: since when most of the canary and some of the baseline have been in distress.
        baseline_was_well: it was seen well in this rollout, and not otherwise since.
        canary_was_ready: an instance of the canary was seen ready in this rollout.
        well_since: since when every single instance of the baseline is well; None: it is not so.
        stalled: what the workload's controller says of a rollout that stands still, else "".
    """

    at: float = 0.0
    courses: Mapping[Key, Course] = field(default_factory=dict)
    canary: Tally = Tally()
    baseline: Tally = Tally()
    since: float | None = None
    looks: int = 0
    both_since: float | None = None
    baseline_was_well: bool = False
    canary_was_ready: bool = False
    well_since: float | None = None
    stalled: str = ""

    def observe(self, rollout: Rollout, now: float) -> "Distress":
        """Return the distress after one more look at the rollout."""
        seen = {side: rollout.instances(side) for side in Side}
        after = self._looked(seen, rollout.ready_within_s, rollout.stalled, now)
        is_most = after.canary.is_mostly_distressed
        alone = is_most and after.baseline_acquits
        both = is_most and not alone and after.baseline.distressed > 0
        return replace(
            after,
            since=(now if self.since is None else self.since) if alone else None,
            both_since=(now if self.both_since is None else self.both_since) if both else None,
            looks=self.looks + 1 if alone else 0,
        )

    def restored(self, baseline: Sequence[Instance], now: float) -> "Distress":
        """Return the distress after one more look at the instances of a restored baseline."""
        return self._looked({Side.BASELINE: baseline, Side.CANARY: ()}, inf, "", now)

    def recovered(self, since: float, lasting_s: float) -> tuple[bool | None, str]:
        """Return whether all instances of the baseline have been well since an action, and why.

        For a canary that never had traffic, so that no signal can tell. None: not decided yet.
        """
        side = self.baseline
        text = f"{side.present - side.unwell} of {side.present} baseline pods are well"
        if self.well_since is None or self.at - max(since, self.well_since) < lasting_s:
            return None, text
        return True, f"{text}; the canary never had traffic to compare"

    def _looked(
        self,
        seen: Mapping[Side, Sequence[Instance]],
        ready_within_s: float,
        stalled: str,
        now: float,
    ) -> "Distress":
        courses: dict[Key, Course] = {}
        sides: dict[Side, Tally] = {}
        for side, instances in seen.items():
            # A controller's complaint is about its newest revision.
            limit_s = 0.0 if stalled and side is Side.CANARY else ready_within_s
            ailments: list[str] = []
            staying = [i for i in instances if not i.terminating]
            for instance in staying:
                key = (side, instance.id)
                course = _course(instance, self.courses.get(key), now)
                if course is not None:
                    courses[key] = course
                ailments.append(_ailment(instance, course, limit_s, now))
            sides[side] = _tally(staying, ailments)
        baseline = sides[Side.BASELINE]
        # Instances on their way out tell how the baseline was while it ran: a workload may be
        # replaced at once, and nothing else of its baseline is ever seen.
        ran = any(i.terminating and _has_run(i) for i in seen[Side.BASELINE])
        was_well = baseline.is_well if baseline.present else ran or self.baseline_was_well
        wholly_well = baseline.present > 0 and baseline.unwell == 0
        return replace(
            self,
            at=now,
            courses=courses,
            canary=sides[Side.CANARY],
            baseline=baseline,
            baseline_was_well=was_well,
            canary_was_ready=self.canary_was_ready or any(i.ready for i in seen[Side.CANARY]),
            well_since=(self.well_since or now) if wholly_well else None,
            stalled=stalled,
        )

    @property
    def baseline_acquits(self) -> bool:
        """Whether the baseline shows that there is nothing wrong with the world around it.

        Once it is gone, it shows so only for a canary that never ran: what befalls one that had
        taken over may befall anything.
        """
        if self.baseline.present:
            return self.baseline.is_well
        return self.baseline_was_well and not self.canary_was_ready


def weigh(distress: Distress, policy: Policy, warm: int | None = None) -> Facts:
    """Return what the looks so far amount to.

    Time that passed since the last look does not count: a source that is silent says nothing.

    Args:
        distress: what the looks have shown.
        policy: how long distress must last.
        warm: instances of the canary that count now; None when that is not known.
    """
    canary, baseline = distress.canary, distress.baseline
    if not canary.distressed:
        if distress.stalled:
            text = f"the rollout stands still, and no canary pod is to blame: {distress.stalled}"
            return Facts(Standing.SUSPECTED, text, warm)
        return Facts(warm=warm)
    if distress.since is None:
        both = distress.at - distress.both_since if distress.both_since is not None else -1.0
        standing = Standing.SHARED if both >= policy.facts_after_s else Standing.SUSPECTED
        text = _told(distress)
        if standing is Standing.SHARED:
            text += ": not the canary's fault alone"
        return Facts(standing, text, warm)
    lasted = distress.at - distress.since
    needed = policy.facts_after_s * (1.0 if baseline.present else UNPAIRED)
    is_proved = lasted >= needed and distress.looks >= LOOKS
    text = _told(distress)
    if not is_proved:
        text += f"; decides when it has lasted {duration(needed)}"
    return Facts(Standing.ACCUSED if is_proved else Standing.SUSPECTED, text, warm)


def _course(instance: Instance, before: Course | None, now: float) -> Course | None:
    """Return the course of an instance after this look, None when nothing is known of it."""
    vitals = instance.vitals
    if vitals is None:
        return before
    ready = vitals.unready_since is None and not vitals.stuck
    if before is None:
        return Course(vitals.restarts, ready, was_ready=ready and instance.ready)
    recent = now - SETBACKS_S
    restarted = before.was_ready and vitals.restarts > before.restarts
    lost = restarted or (before.was_ready and before.ready and not ready)
    return Course(
        restarts=vitals.restarts,
        ready=ready,
        was_ready=before.was_ready or (ready and instance.ready),
        restarted_at=_recently((*before.restarted_at, *((now,) * restarted)), recent),
        lost_at=_recently((*before.lost_at, *((now,) * lost)), recent),
    )


def _recently(times: tuple[float, ...], since: float) -> tuple[float, ...]:
    return tuple(at for at in times if at >= since)


def _ailment(instance: Instance, course: Course | None, limit_s: float, now: float) -> str:
    """Return what the distress of an instance is called, "" when it is in none."""
    vitals = instance.vitals
    if vitals is None or course is None:
        return ""
    cause = f" ({OUT_OF_MEMORY})" if vitals.last_exit == OUT_OF_MEMORY else ""
    unready_since = vitals.unready_since
    if vitals.stuck:
        return f"in {vitals.stuck}{cause}"
    if unready_since is not None and vitals.restarts >= RESTARTS:
        return f"restarting again and again{cause}"
    if len(course.restarted_at) >= RESTARTS:
        return f"restarting again and again{cause}"
    if len(course.lost_at) >= SETBACKS:
        return "losing readiness again and again"
    if unready_since is not None and now - unready_since >= limit_s:
        return "not ready in time"
    return ""


def _tally(instances: Sequence[Instance], ailments: Sequence[str]) -> Tally:
    """Count one side; the instances are those that stay, each with its ailment."""
    return Tally(
        present=len(instances),
        ailing=Counter(ailment for ailment in ailments if ailment),
        unwell=sum(
            bool(ailment) or not _is_running(i) or not i.ready
            for i, ailment in zip(instances, ailments, strict=True)
        ),
        restarts=max((i.vitals.restarts for i in instances if i.vitals), default=0),
    )


def _is_running(instance: Instance) -> bool:
    """Tell whether its containers are known to run and to be ready."""
    vitals = instance.vitals
    return vitals is not None and not vitals.stuck and vitals.unready_since is None


def _has_run(instance: Instance) -> bool:
    """Tell whether an instance on its way out, no longer ready, is known to have run well."""
    vitals = instance.vitals
    return vitals is not None and not vitals.stuck and vitals.restarts < RESTARTS


def _told(distress: Distress) -> str:
    """Say in one sentence what is seen, with numbers."""
    canary, baseline = distress.canary, distress.baseline
    kinds = sorted(canary.ailing.items(), key=lambda item: (-item[1], item[0]))
    first, *others = (f"{count} of {canary.present} canary pods {kind}" for kind, count in kinds)
    text = "; ".join([first, *others])
    if distress.since is not None and distress.at > distress.since:
        text += f" for {duration(distress.at - distress.since)}"
    if canary.restarts:
        text += f" (up to {canary.restarts} restart{'s' * (canary.restarts > 1)})"
    if distress.stalled:
        text += f", and the rollout stands still ({distress.stalled})"
    if not baseline.present:
        if distress.baseline_was_well:
            return f"{text}; the baseline was well while it ran"
        return f"{text}; no baseline pod is there to compare with"
    text += f"; {baseline.distressed} of {baseline.present} baseline pods"
    if baseline.unwell > baseline.distressed:
        text += f", and {baseline.unwell - baseline.distressed} more are not ready or not known"
    return text
