"""The pages: rollouts, one rollout, the journal, the policies. Rendered here, from snapshots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from actions.marks import COMMIT
from actions.ports import Entry
from analyzer.regions.life import RegionPhase
from analyzer.trains.life import TrainPhase
from analyzer.trains.standing import StopState
from analyzer.wording import duration, e_value, progress
from rollbackd.config.problems import Problem
from rollbackd.config.settings import PolicyRule
from rollbackd.decisions import Answer, Verb, offer_key, offers
from rollbackd.report.page import TONES, section
from rollbackd.rollouts.annotations import AUTHOR, CHANGE_CAUSE, CHANGE_URL
from rollbackd.views import StopView, WatchView
from rollbackd.web.visitors import Visitor, Visitors

MAX_WATCHES = 200
"""Rollouts on the overview, those that need somebody first; the journal has them all."""
MAX_DATA = 4000
"""Characters of an entry's data that the journal's page shows."""

WORDS: Mapping[Verb, tuple[str, str, str]] = {
    Verb.ROLL_BACK: (
        "Roll back now",
        "harm",
        "A plan is made at once, past the same guards as any other, whatever the evidence says.",
    ),
    Verb.APPROVE: ("Approve", "harm", "The plan above is carried out now."),
    Verb.REJECT: ("Reject", "", "Nothing is done; the watch ends and a person has to look."),
    Verb.SNOOZE: ("Snooze 30 min", "", "Evidence is gathered on; nothing is decided meanwhile."),
    Verb.RESUME: ("Resume", "good", "The snooze ends now."),
    Verb.FAIL_OVER: (
        "Fail over",
        "harm",
        "Its traffic is moved to the other regions, past the guards, whatever the evidence says.",
    ),
    Verb.FAIL_BACK: ("Fail back", "", "Its traffic is brought back, past the guards."),
    Verb.FOLLOW: ("Follow again", "good", "It is judged and moved as before it needed a human."),
    Verb.CONTINUE: (
        "Go on",
        "good",
        "The train goes on. Where a region ended without a verdict, you vouch for it.",
    ),
    Verb.STOP: (
        "Stop",
        "harm",
        "Nothing more is released; the regions that have the release keep it.",
    ),
    Verb.TAKE_BACK: (
        "Take back",
        "harm",
        "Every region that was released goes back, the last one first, past its own guards.",
    ),
    Verb.RELEASE: (
        "Release hold",
        "",
        "What is held goes on by itself again; a GitOps owner applies what it has in Git.",
    ),
}
"""From a decision to its button, its style, and what it means."""

SAID: Mapping[str, tuple[str, str]] = {
    Answer.TAKEN.value: ("good", "Your decision was taken."),
    Answer.STALE.value: (
        "",
        "What you decided about was no longer current; nothing was done. Look again, please.",
    ),
    Answer.FORBIDDEN.value: ("", "You may not decide about this; nothing was done."),
    Answer.UNKNOWN.value: ("", "There is no such decision any more; nothing was done."),
    Answer.FAILED.value: (
        "",
        "Not all of it could be done; the time line and the log of the daemon say why.",
    ),
    "unrecorded": ("", "It could not be recorded; nothing was done. Decide again, please."),
}
"""From the outcome in a page's address to what is said; other texts are never shown."""

SAID_OF: Mapping[str, str] = {
    AUTHOR: "Author",
    COMMIT: "Commit",
    CHANGE_URL: "Change",
    CHANGE_CAUSE: "Cause",
}
"""What annotations are called on the page."""

_REGION_TONES: Mapping[str, tuple[str, str]] = {
    RegionPhase.NORMAL: ("good", "✓"),
    RegionPhase.SICK: ("bad", "✗"),
    RegionPhase.REPORTED: ("bad", "✗"),
    RegionPhase.AWAITING_APPROVAL: ("bad", "?"),
    RegionPhase.NEEDS_HUMAN: ("bad", "!"),
}
"""From a region's phase to how it is shown; the others are under way."""

_TRAIN_TONES: Mapping[str, tuple[str, str]] = {
    TrainPhase.WAITING: ("idle", "·"),
    TrainPhase.ARRIVED: ("good", "✓"),
    TrainPhase.AWAITING_APPROVAL: ("bad", "?"),
    TrainPhase.AWAITING_RETURN: ("bad", "?"),
    TrainPhase.NEEDS_HUMAN: ("bad", "!"),
    TrainPhase.TAKING_BACK: ("bad", "↩"),
    TrainPhase.TAKEN_BACK: ("good", "↩"),
    TrainPhase.STOPPED: ("open", "■"),
}
"""As ``_REGION_TONES``, of a train's phase."""

_STOP_TONES: Mapping[str, tuple[str, str]] = {
    StopState.HEALTHY: ("good", "✓"),
    StopState.VOUCHED: ("good", "✓"),
    StopState.FAILED: ("bad", "✗"),
    StopState.UNDECIDED: ("bad", "?"),
    StopState.GOING_BACK: ("bad", "↩"),
    StopState.TAKEN_BACK: ("good", "↩"),
    StopState.WAITING: ("idle", "·"),
    StopState.LEFT_OUT: ("idle", "–"),
}
"""As ``_REGION_TONES``, of a region in a train."""

URGENT = ("needs a human", "awaiting approval", "acting", "verifying", "degraded", "held")


@dataclass(frozen=True, slots=True)
class Line:
    """One rollout on the overview."""

    watch: WatchView
    address: str
    tone: str
    sign: str
    filled: int
    weight: str
    why: str
    age: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One button."""

    key: str
    label: str
    style: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Beyond:
    """What there is beyond rollouts: snapshots of the configured regions and release trains."""

    regions: Sequence[WatchView] = ()
    trains: Sequence[WatchView] = ()


def overview(
    views: Iterable[WatchView], now: float, visitor: Visitor, beyond: Beyond = Beyond()
) -> str:
    """Return the page of all rollouts: those that need somebody first, then the youngest.

    Args:
        views: their snapshots.
        now: seconds since the epoch.
        visitor: who is asking.
        beyond: what else is shown.
    """
    ordered = sorted(views, key=_urgency)
    lines = [_line(view, now) for view in ordered[:MAX_WATCHES]]
    groups = (
        ("Needs attention", [n for n in lines if n.watch.phase in URGENT]),
        (
            "Being watched",
            [n for n in lines if not n.watch.final and n.watch.phase not in URGENT],
        ),
        ("Ended", [n for n in lines if n.watch.final and n.watch.phase not in URGENT]),
    )
    state = f"{sum(not v.final for v in ordered)} rollouts being watched"
    return _page(
        "overview",
        visitor,
        groups=groups,
        state=state,
        hidden=len(ordered) - len(lines),
        regions=[_region(view, now, visitor) for view in beyond.regions],
        trains=[_train(view, now, visitor) for view in beyond.trains],
    )


@dataclass(frozen=True, slots=True)
class RegionLine:
    """One region, and what a visitor may decide about it."""

    view: WatchView
    tone: str
    sign: str
    age: str
    offers: Sequence[Offer]


def regions(views: Sequence[WatchView], now: float, visitor: Visitor, said: str) -> str:
    """Return the page of regions: how each stands, where its traffic goes, what can be decided.

    Args:
        views: their snapshots.
        now: seconds since the epoch.
        visitor: who is asking; only somebody gets buttons.
        said: outcome of a decision that led here, or "".
    """
    lines = [_region(view, now, visitor) for view in views]
    return _page("regions", visitor, lines=lines, said=SAID.get(said), clock=clock)


@dataclass(frozen=True, slots=True)
class StopLine:
    """One region on a train's route."""

    stop: StopView
    tone: str
    sign: str
    age: str


@dataclass(frozen=True, slots=True)
class TrainLine:
    """One release train, its regions in order, and what a visitor may decide about it."""

    view: WatchView
    tone: str
    sign: str
    age: str
    stops: Sequence[StopLine]
    offers: Sequence[Offer]
    said_of_itself: Sequence[tuple[str, str]]


def trains(views: Sequence[WatchView], now: float, visitor: Visitor, said: str) -> str:
    """Return the page of release trains: where each is, why it waits, what can be decided.

    Args:
        views: their snapshots.
        now: seconds since the epoch.
        visitor: who is asking; only somebody gets buttons.
        said: outcome of a decision that led here, or "".
    """
    lines = [_train(view, now, visitor) for view in views]
    return _page("trains", visitor, lines=lines, said=SAID.get(said), clock=clock)


@dataclass(frozen=True, slots=True)
class Beside:
    """What a rollout's page shows besides its snapshot.

    ``links``: addresses by what people call them. ``course``: the newest entries of the journal;
    None when it cannot be read now.
    """

    links: Mapping[str, str] = field(default_factory=dict)
    course: Sequence[Entry] | None = ()


def watch(view: WatchView, visitor: Visitor, said: str, beside: Beside) -> str:
    """Return the page of one rollout.

    Args:
        view: its snapshot.
        visitor: who is asking; only somebody gets buttons.
        said: outcome of a decision that led here, or "".
        beside: what is shown with it.
    """
    course = beside.course
    passed = [guard.guard for guard in view.guards if guard.outcome == "passed"]
    return _page(
        "watch",
        visitor,
        w=section(view),
        offers=[_offer(view, verb) for verb in offers(view)] if visitor.person is not None else [],
        can_offer=bool(offers(view)),
        said=SAID.get(said),
        objections=[guard for guard in view.guards if guard.outcome != "passed"],
        passed=passed,
        links={name: url for name, url in beside.links.items() if name != "Details"},
        said_of_itself=_said_of_itself(view),
        course=None if course is None else [(e, clock(e.at), _told(e)) for e in course],
        journal=f"/journal?watch={quote(view.id, safe='')}",
        state=f"{view.workload}: {view.phase}",
    )


def journal(
    entries: Sequence[Entry],
    *,
    kinds: Sequence[str],
    chosen: str,
    sought: str,
    older: str | None,
    visitor: Visitor,
) -> str:
    """Return the page of the journal, the newest entry first.

    Args:
        entries: those to show.
        kinds: that can be chosen.
        chosen: the kind that is looked for, or "".
        sought: part of a watch's id that is looked for, or "".
        older: address of the entries before these, or None.
        visitor: who is asking.
    """
    rows = [(e, clock(e.at), _told(e), _shown(e)) for e in entries]
    return _page(
        "journal", visitor, rows=rows, kinds=kinds, chosen=chosen, sought=sought, older=older
    )


def policies(
    rules: Sequence[PolicyRule],
    visitor: Visitor,
    *,
    text: str = "",
    problems: Sequence[Problem] | None = None,
) -> str:
    """Return the page of the policies.

    Args:
        rules: the policies in force.
        visitor: who is asking.
        text: a configuration that was checked, or "".
        problems: what is wrong with it; None when none was checked.
    """
    return _page(
        "policies",
        visitor,
        rules=rules,
        text=text,
        problems=problems,
        duration=duration,
        weights={rule.policy.name: rule.policy.weights for rule in rules},
    )


def sign_in(visitor: Visitor, by: Visitors, *, refused: bool) -> str:
    """Return the page on which a person signs in, with the daemon's token or one of the cluster."""
    own, cluster = by.token is not None, by.cluster is not None
    return _page("sign_in", visitor, own=own, cluster=cluster, refused=refused)


def trouble(heading: str, text: str, visitor: Visitor) -> str:
    """Return the page that says why there is no other one."""
    return _page("trouble", visitor, heading=heading, text=text)


def clock(at: float) -> str:
    """Return a time as the journal's page shows it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _urgency(view: WatchView) -> tuple[int, bool, float]:
    urgent = URGENT.index(view.phase) if view.phase in URGENT else len(URGENT)
    return urgent, view.final, -view.started_at


def _line(view: WatchView, now: float) -> Line:
    tone, sign = TONES.get(view.phase, ("open", "…"))
    return Line(
        watch=view,
        address=f"/watches/{quote(view.id, safe='/@')}",
        tone=tone,
        sign=sign,
        filled=round(100 * progress(view.evidence, view.limit)),
        weight=f"{e_value(view.evidence)} of the {e_value(view.limit)} that decide",
        why=view.reasons[0] if view.reasons else view.note,
        age=duration(max(0.0, now - view.started_at)),
    )


def _region(view: WatchView, now: float, visitor: Visitor) -> RegionLine:
    tone, sign = _REGION_TONES.get(view.phase, ("open", "…"))
    return RegionLine(
        view=view,
        tone=tone,
        sign=sign,
        age=duration(max(0.0, now - view.since)),
        offers=[_offer(view, v) for v in offers(view)] if visitor.person is not None else (),
    )


def _train(view: WatchView, now: float, visitor: Visitor) -> TrainLine:
    tone, sign = _TRAIN_TONES.get(view.phase, ("open", "…"))
    return TrainLine(
        view=view,
        tone=tone,
        sign=sign,
        age=duration(max(0.0, now - view.since)),
        stops=[_stop(stop, now) for stop in view.stops],
        offers=[_offer(view, v) for v in offers(view)] if visitor.person is not None else (),
        said_of_itself=_said_of_itself(view),
    )


def _stop(stop: StopView, now: float) -> StopLine:
    tone, sign = _STOP_TONES.get(stop.state, ("open", "…"))
    age = "" if stop.since is None else duration(max(0.0, now - stop.since))
    return StopLine(stop, tone, sign, age)


def _said_of_itself(view: WatchView) -> list[tuple[str, str]]:
    return [(SAID_OF.get(key, key), text) for key, text in view.annotations.items()]


def _offer(view: WatchView, verb: Verb) -> Offer:
    label, style, meaning = WORDS[verb]
    return Offer(offer_key(view, verb), label, style, meaning)


def _told(entry: Entry) -> str:
    """Return an entry of a course in one line."""
    data = entry.data
    match entry.kind:
        case "watch" | "region" | "train":
            return f"{data.get('phase', '')}: {data.get('note', '')}"
        case "decision":
            return f"{data.get('decision', '')} by {data.get('by', '')} ({data.get('via', '')})"
        case "refusal":
            return "; ".join(map(str, data.get("reasons", ())))
        case "hold":
            return ": ".join(filter(None, (str(data.get("deed", "")), str(data.get("why", "")))))
        case "release":
            return f"by {data.get('by', '')}"
        case "facts":
            return f"{data.get('standing', '')}: {data.get('text', '')}"
        case _:
            return str(data.get("summary") or data.get("step") or entry.key)


def _shown(entry: Entry) -> str:
    text = json.dumps(entry.data, ensure_ascii=False, indent=1)
    return text if len(text) <= MAX_DATA else f"{text[:MAX_DATA]}\n… ({len(text)} characters)"


def _page(name: str, visitor: Visitor, **values: object) -> str:
    template = _environment().get_template(f"{name}.html.j2")
    return template.render(page=name, visitor=visitor, person=visitor.person, **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader("rollbackd.web"), PackageLoader("rollbackd.report")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
