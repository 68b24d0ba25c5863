"""What people decide, from wherever they say it: bound to what they saw, authorised, taken once.

A decision names the watch, the plan in force and the watch's *turn*, which counts the decisions
that were taken. All of them are journalled with the watch in one transaction; so a decision that
was taken makes every copy of itself stale, be it a second click, a delivery that Slack repeats, a
message from before a restart, or another replica's. Nobody decides about something else than what
they saw.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import structlog

from actions.plan import checksum
from actions.ports import ActionError, Entry, Journal, Transient, newest
from analyzer.events import Approved, Demanded, Event, Rejected, Resumed, Snoozed
from analyzer.regions.events import Direction, Ordered, RegionWish
from analyzer.regions.events import Released as RegionReleased
from analyzer.trains.events import Continued, Halted, Recalled, TrainWish
from analyzer.watch import Hold, Phase
from rollbackd.config.settings import Deciders
from rollbackd.releases import NOTHING, Released
from rollbackd.rollouts.annotations import AUTHOR
from rollbackd.telemetry import Telemetry
from rollbackd.views import WatchView

log = structlog.get_logger()

SNOOZE_S = 1800.0
"""How long a snooze lasts when nobody says otherwise."""
MAX_SNOOZE_S = 86400.0
"""A longer one is no snooze: that is what mode observe is for."""


class Verb(StrEnum):
    """What a person can decide about a watch."""

    ROLL_BACK = "rollback"
    APPROVE = "approve"
    REJECT = "reject"
    SNOOZE = "snooze"
    RESUME = "resume"
    RELEASE = "release"
    """Let go of what is held for the watch, which may be over."""
    FAIL_OVER = "fail over"
    """Move a region's traffic away."""
    FAIL_BACK = "fail back"
    """Bring a region's traffic back."""
    FOLLOW = "follow"
    """Follow a region again after it needed a human."""
    CONTINUE = "continue"
    """Let a train go on after it needed a human."""
    STOP = "stop"
    """Release a train's release nowhere else."""
    TAKE_BACK = "take back"
    """Have every region that has a train's release go back."""


class Answer(StrEnum):
    """What became of a decision."""

    TAKEN = "taken"
    STALE = "stale"
    """What it was about is no longer current; nothing happened."""
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"
    """There is no such watch."""
    FAILED = "failed"
    """It was tried, and not all of it could be done; what is left can be decided again."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides.

    Attributes:
        name: for messages. via: where it was said: slack, http.
        id, addresses: what ``deciders.users`` may name; whoever lets the person in vouches for them.
        aliases: other names, which people may choose themselves: compared with the author's only.
        is_member: tells whether the person belongs to a group that ``deciders.groups`` names;
            may raise Transient.
        trusted: whoever let the person in has settled what they may do (a bearer token).
        may_decide: tells of a workload's namespace and name whether the cluster lets this person
            decide about it, for those whom the cluster knows; then this alone counts, and not the
            policy's ``deciders``. May raise Transient.
    """

    name: str
    via: str
    id: str
    addresses: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    is_member: Callable[[str], bool] = field(default=lambda _: False, compare=False)
    trusted: bool = False
    may_decide: Callable[[str, str], bool] | None = field(default=None, compare=False)

    def is_surely(self, who: str) -> bool:
        """Tell whether this is the person's id or address; case does not matter."""
        return _among(who, {self.id, *self.addresses})

    def is_called(self, name: str) -> bool:
        """Tell whether this is any of the person's names, also of those chosen by themselves."""
        return _among(name, {self.id, self.name, *self.addresses, *self.aliases})


def _among(name: str, names: Collection[str]) -> bool:
    return name.strip().casefold() in {each.casefold() for each in names if each}


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: what, about which state of which watch, by whom.

    ``plan_key`` and ``turn`` are those of the view that the person saw; ``for_s``: of a snooze.
    """

    watch_id: str
    verb: Verb
    by: Person
    plan_key: str
    turn: int
    for_s: float = SNOOZE_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision, in words for the person; ``phase`` is the watch's now, or "".

    ``released`` is what a release let go, and what it could not.
    """

    answer: Answer
    text: str
    phase: str = ""
    released: Released = NOTHING


Deed = Event | RegionWish | TrainWish
"""What happens to a watch, a region or a train by a decision."""
_WISHES: Mapping[Verb, Callable[[str], Deed]] = {
    Verb.ROLL_BACK: Demanded,
    Verb.RESUME: Resumed,
    Verb.FAIL_OVER: partial(Ordered, Direction.AWAY),
    Verb.FAIL_BACK: partial(Ordered, Direction.BACK),
    Verb.FOLLOW: RegionReleased,
    Verb.CONTINUE: Continued,
    Verb.STOP: Halted,
    Verb.TAKE_BACK: Recalled,
}
"""From a verb that takes nothing but a person's name to what then happens."""
_COLLECTING = frozenset({Phase.WARMING, Phase.OBSERVING, Phase.HELD})


def offers(view: WatchView) -> tuple[Verb, ...]:
    """Return what can be decided about a watch, a region or a train in its present state."""
    if view.offered:
        return tuple(Verb(verb) for verb in view.offered)
    return (*_about_the_rollout(view), *((Verb.RELEASE,) if view.held else ()))


def _about_the_rollout(view: WatchView) -> tuple[Verb, ...]:
    if view.phase == Phase.AWAITING_APPROVAL:
        return (Verb.APPROVE, Verb.REJECT)
    if view.phase == Phase.REPORTED and view.can_demand:
        return (Verb.ROLL_BACK,)
    if view.phase not in _COLLECTING:
        return ()
    pause = Verb.RESUME if view.hold == Hold.SNOOZED else Verb.SNOOZE
    return (Verb.ROLL_BACK, pause)


def offer_key(view: WatchView, verb: Verb) -> str:
    """Return the opaque key of one offer: what a button carries. It says nothing by itself."""
    held = view.held if verb is Verb.RELEASE else ()
    return checksum([view.id, verb.value, view.plan_key, view.turn, *held])


def refusal(
    by: Person,
    deciders: Deciders,
    annotations: Mapping[str, str],
    about: tuple[str, str] = ("", ""),
) -> str:
    """Return why this person may not decide about a rollout, or "".

    Args:
        by: the person.
        deciders: who may under the policy.
        annotations: of the rollout.
        about: the namespace and the name of its workload.

    Raises:
        Transient: it cannot be told now whether the person belongs to a group, or has the right.
    """
    namespace, name = about
    if by.may_decide is not None:
        if not by.may_decide(namespace, name):
            return f"the cluster does not let {by.name} decide about {namespace}/{name}"
    elif not by.trusted and not _is_named(by, deciders):
        return f"{by.name} is not among those who may decide under this policy"
    if not deciders.four_eyes:
        return ""
    author = annotations.get(AUTHOR, "")
    if not author:
        return f"four eyes are asked for, and the rollout does not say its author ({AUTHOR})"
    if "@" in author and not any("@" in name for name in (by.id, *by.addresses)):
        return f"four eyes are asked for, and the address of {by.name} is not known to compare"
    if by.is_called(author):
        return f"four eyes are asked for, and {by.name} is the author of this change"
    return ""


def _is_named(by: Person, deciders: Deciders) -> bool:
    return any(by.is_surely(user) for user in deciders.users) or any(
        by.is_member(group) for group in deciders.groups
    )


class Decisions:
    """Takes decisions, one at a time. Thread-safe.

    Args:
        views: the newest snapshots, of regions and trains, too. handle: lets an event happen to one of them.
        release: lets go of what a watch holds, by its id and on whose word.
        deciders: who may decide under a policy, by its name.
        journal: where each decision is written before it has its effect.
        telemetry: counts them. now: seconds since the epoch.
        permit: raises Fenced (a Transient) when another process decides.
    """

    def __init__(  # noqa: PLR0913  # the parts it works with
        self,
        *,
        views: Callable[[], tuple[WatchView, ...]],
        handle: Callable[[str, Deed], None],
        deciders: Callable[[str], Deciders],
        journal: Journal,
        telemetry: Telemetry,
        now: Callable[[], float],
        release: Callable[[str, str], Released] = lambda _watch_id, _by: NOTHING,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self._permit = permit
        self._release = release
        self._views = views
        self._handle = handle
        self._deciders = deciders
        self._journal = journal
        self._telemetry = telemetry
        self._now = now
        self._lock = threading.Lock()

    def views(self) -> tuple[WatchView, ...]:
        """Return the newest snapshot of every watch."""
        return self._views()

    def offered(self, key: str) -> tuple[WatchView, Verb] | None:
        """Return what a key stands for now, or None: unknown, superseded and taken are the same."""
        for view in self._views():
            for verb in offers(view):
                if offer_key(view, verb) == key:
                    return view, verb
        return None

    def press(self, key: str, claimed: Verb, by: Person) -> Outcome:
        """Let happen what a button offers: its ``key``, and the verb it ``claimed`` to stand for.

        Raises:
            Transient: as ``decide``.
        """
        offered = self.offered(key)
        if offered is not None and offered[1] is claimed:
            view, verb = offered
            return self.decide(Decision(view.id, verb, by, view.plan_key, view.turn))
        outcome = Outcome(Answer.STALE, "this is no longer current, nothing was done")
        return self._answered(claimed, by, "", outcome)

    def decide(self, decision: Decision) -> Outcome:
        """Let a decision happen, unless it is stale or not this person's to take.

        Raises:
            Transient: it could not be written, or it cannot be told who the person is, or another
                replica decides; nothing happened, deciding again is safe.
        """
        self._permit()
        with self._lock:
            outcome = self._decide(decision)
        return self._answered(decision.verb, decision.by, decision.watch_id, outcome)

    def release(self, watch_id: str, by: Person) -> Outcome:
        """Let go of whatever a watch holds now, seen or not; nothing when it holds nothing.

        Raises:
            Transient: as ``decide``.
        """
        self._permit()
        with self._lock:
            outcome = self._release_all(watch_id, by)
        return self._answered(Verb.RELEASE, by, watch_id, outcome)

    def _release_all(self, watch_id: str, by: Person) -> Outcome:
        view = self._find(watch_id)
        if view is None:
            return Outcome(Answer.UNKNOWN, "there is no such watch")
        why_not = self._refusal(by, view)
        if why_not:
            return Outcome(Answer.FORBIDDEN, why_not, view.phase)
        return self._let_go(Decision(view.id, Verb.RELEASE, by, view.plan_key, view.turn), view)

    def objection(self, watch_id: str, by: Person) -> str:
        """Return why this person may not decide about a watch, or "".

        Raises:
            Transient: it cannot be told now.
        """
        view = self._find(watch_id)
        return "there is no such watch" if view is None else self._refusal(by, view)

    def _refusal(self, by: Person, view: WatchView) -> str:
        # the right to decide about a region or a train is one in the whole cluster
        namespace, _, name = view.workload.rpartition("/")
        about = namespace, name
        return refusal(by, self._deciders(view.policy), view.annotations, about)

    def _let_go(self, decision: Decision, view: WatchView) -> Outcome:
        """Release what is held. Done twice it lets nothing go: there is nothing held any more."""
        self._note(decision, view)
        try:
            released = self._release(view.id, decision.by.name)
        except Transient:
            raise
        except ActionError as error:
            return Outcome(Answer.FAILED, f"not all was let go: {error}", view.phase)
        if released.failed:
            text = f"not all was let go: {'; '.join(released.failed)}"
            return Outcome(Answer.FAILED, text, view.phase, released)
        text = "; ".join(released.done) or "nothing was held any more"
        return Outcome(Answer.TAKEN, text, view.phase, released)

    def _note(self, decision: Decision, view: WatchView) -> None:
        """Write down a decision before it has its effect. Raises Transient."""
        by = decision.by
        said = {"decision": decision.verb.value, "by": by.name, "id": by.id, "via": by.via}
        about = {"plan": decision.plan_key, "turn": decision.turn}
        key = offer_key(view, decision.verb)
        self._journal.append(Entry(self._now(), view.id, "decision", key, said | about))

    def _answered(self, verb: Verb, by: Person, watch_id: str, outcome: Outcome) -> Outcome:
        self._telemetry.decided(verb.value, outcome.answer.value)
        log.info(
            "decision answered",
            answer=outcome.answer.value,
            watch=watch_id,
            decision=verb.value,
            by=by.id,
            via=by.via,
            text=outcome.text,
        )
        return outcome

    def _decide(self, decision: Decision) -> Outcome:
        view = self._find(decision.watch_id)
        if view is None:
            return Outcome(Answer.UNKNOWN, "there is no such watch")
        why_not = self._refusal(decision.by, view)
        if why_not:
            return Outcome(Answer.FORBIDDEN, why_not, view.phase)
        now = self._standing(view)
        seen = (decision.plan_key, decision.turn)
        if decision.verb not in offers(view) or not seen == now.seen == (view.plan_key, view.turn):
            return now.stale(view)
        if decision.verb is Verb.RELEASE:
            return self._let_go(decision, view)
        self._note(decision, view)
        self._handle(view.id, self._event(decision))
        after = self._standing(view)
        if after.turn <= now.turn:
            return after.stale(view)  # it moved on between the look and the deed
        return Outcome(Answer.TAKEN, after.note, after.phase)

    def _standing(self, view: WatchView) -> "_Standing":
        """Return how a watch stands, by the journal: what we remember of it may be old.

        Another replica may have taken it over, or taken the decision.
        """
        kinds = frozenset({"watch"})
        last = newest(self._journal.entries(watch_id=view.id, kinds=kinds))
        if last is not None:
            data, turn = last.data, last.data.get("turn", 0)
            return _Standing(data["plan_key"], turn, data["phase"], data["note"])
        known = self._find(view.id) or view
        return _Standing(known.plan_key, known.turn, known.phase, known.note)

    def _event(self, decision: Decision) -> Deed:
        by = decision.by.name
        match decision.verb:
            case Verb.APPROVE:
                return Approved(decision.plan_key, by)
            case Verb.REJECT:
                return Rejected(decision.plan_key, by)
            case Verb.SNOOZE:
                return Snoozed(self._now() + min(decision.for_s, MAX_SNOOZE_S), by)
            case wish:
                return _WISHES[wish](by)

    def _find(self, watch_id: str) -> WatchView | None:
        return next((view for view in self._views() if view.id == watch_id), None)


@dataclass(frozen=True, slots=True)
class _Standing:
    """The part of a watch's state that decisions are bound to, and what is said of it."""

    plan_key: str
    turn: int
    phase: str
    note: str

    @property
    def seen(self) -> tuple[str, int]:
        return self.plan_key, self.turn

    def stale(self, view: WatchView) -> Outcome:
        """Return the answer to a decision about an earlier state."""
        text = f"this is no longer current, nothing was done: {view.workload} is {self.phase}"
        return Outcome(Answer.STALE, f"{text} ({self.note})" if self.note else text, self.phase)
