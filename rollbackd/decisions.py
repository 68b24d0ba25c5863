"""What people decide, from wherever they say it: bound to what they saw, authorised, taken once.

A decision names the watch, the plan in force and the watch's *turn*, which counts the decisions
that were taken. All of them are journalled with the watch in one transaction; so a decision that
was taken makes every copy of itself stale, be it a second click, a delivery that Slack repeats, a
message from before a restart, or another replica's. Nobody decides about something else than what
they saw.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

import structlog

from actions.plan import checksum
from actions.ports import Entry, Journal
from analyzer.events import Approved, Demanded, Event, Rejected, Resumed, Snoozed
from analyzer.watch import Hold, Phase
from rollbackd.config.settings import Deciders
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


class Answer(StrEnum):
    """What became of a decision."""

    TAKEN = "taken"
    STALE = "stale"
    """What it was about is no longer current; nothing happened."""
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"
    """There is no such watch."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides.

    Attributes:
        name: for messages. via: where it was said: slack, http.
        id: what ``deciders.users`` may name. aliases: other names, compared with the author's.
        is_member: tells whether the person belongs to a group that ``deciders.groups`` names;
            may raise Transient.
        trusted: whoever let the person in has settled what they may do (a bearer token).
    """

    name: str
    via: str
    id: str
    aliases: frozenset[str] = frozenset()
    is_member: Callable[[str], bool] = field(default=lambda _: False, compare=False)
    trusted: bool = False

    def is_called(self, name: str) -> bool:
        """Tell whether this is one of the person's names; case does not matter."""
        own = {self.id, self.name, *self.aliases}
        return name.strip().casefold() in {each.casefold() for each in own if each}


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
    """What became of a decision, in words for the person; ``phase`` is the watch's now, or ""."""

    answer: Answer
    text: str
    phase: str = ""


_COLLECTING = frozenset({Phase.WARMING, Phase.OBSERVING, Phase.HELD})


def offers(view: WatchView) -> tuple[Verb, ...]:
    """Return what can be decided about a watch in its present state."""
    if view.phase == Phase.AWAITING_APPROVAL:
        return (Verb.APPROVE, Verb.REJECT)
    if view.phase not in _COLLECTING:
        return ()
    pause = Verb.RESUME if view.hold == Hold.SNOOZED else Verb.SNOOZE
    return (Verb.ROLL_BACK, pause)


def offer_key(view: WatchView, verb: Verb) -> str:
    """Return the opaque key of one offer: what a button carries. It says nothing by itself."""
    return checksum([view.id, verb.value, view.plan_key, view.turn])


def refusal(by: Person, deciders: Deciders, annotations: Mapping[str, str]) -> str:
    """Return why this person may not decide about a rollout, or "".

    Raises:
        Transient: it cannot be told now whether the person belongs to a group.
    """
    known = by.trusted or any(by.is_called(user) for user in deciders.users)
    if not known and not any(by.is_member(group) for group in deciders.groups):
        return f"{by.name} is not among those who may decide under this policy"
    if not deciders.four_eyes:
        return ""
    author = annotations.get(AUTHOR, "")
    if not author:
        return f"four eyes are asked for, and the rollout does not say its author ({AUTHOR})"
    if by.is_called(author):
        return f"four eyes are asked for, and {by.name} is the author of this change"
    return ""


class Decisions:
    """Takes decisions, one at a time. Thread-safe.

    Args:
        views: the newest snapshots. handle: lets an event happen to a watch.
        deciders: who may decide under a policy, by its name.
        journal: where each decision is written before it has its effect.
        telemetry: counts them. now: seconds since the epoch.
        permit: raises Fenced (a Transient) when another process decides.
    """

    def __init__(
        self,
        *,
        views: Callable[[], tuple[WatchView, ...]],
        handle: Callable[[str, Event], None],
        deciders: Callable[[str], Deciders],
        journal: Journal,
        telemetry: Telemetry,
        now: Callable[[], float],
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self._permit = permit
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

    def decide(self, decision: Decision) -> Outcome:
        """Let a decision happen, unless it is stale or not this person's to take.

        Raises:
            Transient: it could not be written, or it cannot be told who the person is, or another
                replica decides; nothing happened, deciding again is safe.
        """
        self._permit()
        with self._lock:
            outcome = self._decide(decision)
        self._telemetry.decided(decision.verb.value, outcome.answer.value)
        log.info(
            "decision answered",
            answer=outcome.answer.value,
            watch=decision.watch_id,
            decision=decision.verb.value,
            by=decision.by.id,
            via=decision.by.via,
            text=outcome.text,
        )
        return outcome

    def _decide(self, decision: Decision) -> Outcome:
        view = self._find(decision.watch_id)
        if view is None:
            return Outcome(Answer.UNKNOWN, "there is no such watch")
        why_not = refusal(decision.by, self._deciders(view.policy), view.annotations)
        if why_not:
            return Outcome(Answer.FORBIDDEN, why_not, view.phase)
        if not self._is_current(decision, view):
            return _stale(view)
        by = decision.by
        said = {"decision": decision.verb.value, "by": by.name, "id": by.id, "via": by.via}
        about = {"plan": decision.plan_key, "turn": decision.turn}
        key = offer_key(view, decision.verb)
        self._journal.append(Entry(self._now(), view.id, "decision", key, said | about))
        self._handle(view.id, self._event(decision))
        after = self._find(view.id)
        if after is None or after.turn <= view.turn:
            return _stale(after or view)  # it moved on between the look and the deed
        return Outcome(Answer.TAKEN, after.note, after.phase)

    def _is_current(self, decision: Decision, view: WatchView) -> bool:
        """Tell whether a decision is about the present state, also as the journal has it.

        Another replica may have taken it over; then our memory is old and the journal is not.
        """
        seen = (decision.plan_key, decision.turn)
        if decision.verb not in offers(view) or seen != (view.plan_key, view.turn):
            return False
        written = (view.plan_key, view.turn)
        for entry in self._journal.entries(watch_id=view.id, kinds=frozenset({"watch"})):
            written = (entry.data["plan_key"], entry.data.get("turn", 0))
        return seen == written

    def _event(self, decision: Decision) -> Event:
        by = decision.by.name
        match decision.verb:
            case Verb.ROLL_BACK:
                return Demanded(by)
            case Verb.APPROVE:
                return Approved(decision.plan_key, by)
            case Verb.REJECT:
                return Rejected(decision.plan_key, by)
            case Verb.SNOOZE:
                return Snoozed(self._now() + min(decision.for_s, MAX_SNOOZE_S), by)
            case Verb.RESUME:
                return Resumed(by)
            case _:
                assert_never(decision.verb)

    def _find(self, watch_id: str) -> WatchView | None:
        return next((view for view in self._views() if view.id == watch_id), None)


def _stale(view: WatchView) -> Outcome:
    text = f"this is no longer current, nothing was done: {view.workload} is {view.phase}"
    return Outcome(Answer.STALE, f"{text} ({view.note})" if view.note else text, view.phase)
