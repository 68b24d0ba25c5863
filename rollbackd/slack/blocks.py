"""A watch as Block Kit: the message, its buttons, the thread, the home tab. Pure.

Everything foreign (names, annotations, reasons) passes ``mrkdwn``; texts are cut to Slack's limits.
To offer a new decision, add its ``Verb``, say when in ``decisions.offers``, and give it a button
here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analyzer.trains.life import TrainPhase
from analyzer.trains.standing import StopState
from analyzer.watch import Phase
from analyzer.wording import duration, quantity
from analyzer.wording import e_value as write_e
from rollbackd.decisions import SNOOZE_S, Verb, offer_key, offers
from rollbackd.notifiers.links import Links, opens, parts, traces_of
from rollbackd.notifiers.wording import (
    Severity,
    author,
    change,
    course,
    headline,
    is_region,
    is_rollout,
    is_train,
    severity,
    strongest,
)
from rollbackd.slack.mrkdwn import (
    CONTEXT,
    HEADER,
    SECTION,
    code,
    escape,
    fitted,
    link,
    moment,
    plain,
    sparkline,
)
from rollbackd.views import SignalView, StopView, TimelineItem, WatchView

Block = dict[str, Any]

ACTION = "decide:"
"""Begins the id of every button; the verb follows. The value is the offer's opaque key."""
SHOWN_SIGNALS = 3
SHOWN_AT_HOME = 30
THREAD_LINES = 25

_SIGNS = {
    Phase.HELD: "✋",
    Phase.AWAITING_APPROVAL: "🟠",
    Phase.HEALTHY: "✅",
    Phase.ROLLED_BACK: "↩️",
    Phase.NEEDS_HUMAN: "🚨",
    TrainPhase.AWAITING_RETURN: "🟠",
    TrainPhase.ARRIVED: "✅",
}
_STOP_SIGNS = {
    StopState.WAITING: "⚪",
    StopState.LEFT_OUT: "⚪",
    StopState.HEALTHY: "✅",
    StopState.VOUCHED: "✅",
    StopState.UNDECIDED: "🟠",
    StopState.FAILED: "🔴",
    StopState.GOING_BACK: "↩️",
    StopState.TAKEN_BACK: "↩️",
}
"""Of a train's regions; those of the others, which are under way, are blue."""
_SIGN_OF = {Severity.INFO: "🔵", Severity.WARNING: "🟡", Severity.CRITICAL: "🔴"}


@dataclass(frozen=True, slots=True)
class Button:
    """How a decision is offered: its label, its colour ("" for none), and what is asked first."""

    label: str
    style: str = ""
    question: str = ""


BUTTONS = {
    Verb.ROLL_BACK: Button("Roll back now", "danger", "Roll back {what}? The guards are asked."),
    Verb.APPROVE: Button("Approve", "primary", "Carry out this plan? {plan}"),
    Verb.REJECT: Button("Reject", "danger", "Forbid this plan? Nothing more is done then. {plan}"),
    Verb.SNOOZE: Button(
        f"Snooze {duration(SNOOZE_S)}",
        "",
        "Hold {what}? Nothing is done meanwhile, not even if it is plainly bad.",
    ),
    Verb.RESUME: Button("Resume"),
    Verb.FAIL_OVER: Button(
        "Fail over", "danger", "Move the traffic of {what} away? The guards are asked."
    ),
    Verb.FAIL_BACK: Button(
        "Fail back", "", "Bring the traffic of {what} back? The guards are asked."
    ),
    Verb.FOLLOW: Button("Follow again"),
    Verb.CONTINUE: Button(
        "Go on", "primary", "Let {name} go on? A region without a verdict is vouched for by you."
    ),
    Verb.STOP: Button("Stop", "danger", "Stop {name}? The regions that have it keep it."),
    Verb.TAKE_BACK: Button(
        "Take back", "danger", "Take {name} back in every region? Their own guards are asked."
    ),
    Verb.RELEASE: Button("Release hold", "", "Let go of what is held for {what}? {held}"),
}


def fallback(view: WatchView) -> str:
    """Return the text of notifications, which know no blocks."""
    return escape(headline(view))


def message(view: WatchView, links: Links) -> list[Block]:
    """Return the message of a watch as it stands."""
    sign = next((s for p, s in _SIGNS.items() if p == view.phase), _SIGN_OF[severity(view)])
    blocks: list[Block] = [
        {"type": "header", "text": _plain_text(f"{sign} {headline(view)}", HEADER)},
        _section([_what(view), *_change(view)]),
        _section(_route(view.stops) if view.stops else _case(view)),
    ]
    curves = _curves(view.signals)
    if curves:
        blocks.append(_section(curves))
    blocks.append(_section(_next(view)))
    buttons = [_button(view, verb) for verb in offers(view)]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    addresses = links.of(view)
    if addresses:
        shown = " · ".join(link(url, label) for label, url in addresses.items())
        blocks.append({"type": "context", "elements": [_mrkdwn(shown, CONTEXT)]})
    traces = _traces(view)
    if traces:
        blocks.append({"type": "context", "elements": [_mrkdwn(traces, CONTEXT)]})
    return blocks


def _traces(view: WatchView) -> str:
    """Return links to traces that show what was found, the canary's first."""
    links = [link(url, label) for label, url in traces_of(view).items()]
    return f"Traces: {' · '.join(links)}" if links else ""


def _what(view: WatchView) -> str:
    where = parts(view)
    if is_region(view):
        return f"region {code(view.workload)}, compared with {escape(view.baseline)}"
    if is_train(view):
        return f"train {code(view.workload)} with {code(view.canary)}: {escape(view.baseline)}"
    moved = f"{code(view.baseline or '?')} → {code(view.canary)}"
    return f"{code(view.workload)} on {code(where['cluster'])}:  {moved}"


def _change(view: WatchView) -> list[str]:
    what, url = change(view)
    said = [f"by {escape(author(view), 80)}"] if author(view) else []
    if what:
        said.append(code(what, 80))
    if url:
        said.append(link(url, f"change on {url.split('/')[2]}"))
    return [" · ".join(said)] if said else []


def _case(view: WatchView) -> list[str]:
    evidence = f"evidence {write_e(view.evidence)} of {write_e(view.limit)}"
    weighed = f"  ({evidence})" if is_rollout(view) else ""
    return [
        f"*{escape(view.verdict)}*{weighed}",
        *(f"• {escape(reason, 600)}" for reason in strongest(view)),
    ]


def _route(stops: Sequence[StopView]) -> list[str]:
    """Return a line for each region of a train, with a link to the watch where there is one."""
    lines = []
    for stop in stops:
        sign = next((s for state, s in _STOP_SIGNS.items() if state == stop.state), "🔵")
        since = "" if stop.since is None else f" since {moment(stop.since)}"
        text = f": {escape(stop.text, 300)}" if stop.text else ""
        watch = f" · {link(stop.url, 'watch')}" if opens(stop.url) else ""
        state = escape(stop.state)
        lines.append(f"{sign} *{escape(stop.region)}* {state}{since}{text}{watch}")
    return lines


def _curves(signals: Sequence[SignalView]) -> list[str]:
    """Return each signal's two sides as lines of bars on one scale, the worst signals first."""
    worst = sorted(signals, key=lambda s: -(s.points[-1].e_value if s.points else 0.0))
    lines: list[str] = []
    for signal in worst[:SHOWN_SIGNALS]:
        canary = [p.canary for p in signal.points]
        baseline = [p.baseline for p in signal.points]
        top = max((v for v in (*canary[-30:], *baseline[-30:]) if v is not None), default=0.0)
        for side, values in (("canary", canary), ("baseline", baseline)):
            drawn = sparkline(values, most=top)
            known = [value for value in values if value is not None]
            if drawn:
                newest = escape(quantity(known[-1], signal.unit), 60)
                lines.append(f"`{drawn}` {escape(signal.name, 60)}, {side}: {newest}")
    return lines


def _next(view: WatchView) -> list[str]:
    lines = []
    ended = course(view)
    if ended:
        lines.append(f"*{escape(ended[0].upper() + ended[1:])}*")
    elif view.note:
        lines.append(escape(view.note, 800))
    said = (view.plan or "").partition(" (plan ")[0]
    if view.plan and not view.final and said not in view.note:
        lines.append(f"Plan: {escape(view.plan, 600)}")
    if view.held:
        lines.append(f"Held until it is released: {escape('; '.join(view.held), 600)}")
    lines.append(f"Mode {code(view.mode)}: {escape(view.outlook)}  (at {moment(view.updated_at)})")
    return lines


def _button(view: WatchView, verb: Verb) -> Block:
    button = BUTTONS[verb]
    block: Block = {
        "type": "button",
        "action_id": f"{ACTION}{verb.value}",
        "text": _plain_text(button.label, 75),
        "value": offer_key(view, verb),
    }
    if button.style:
        block["style"] = button.style
    if button.question:
        what = f"{view.workload} from {view.canary} to {view.baseline or '?'}"
        held = "; ".join(view.held)
        name = f"{view.canary} of {view.workload}"
        words = {"what": what, "name": name, "plan": view.plan or "", "held": held}
        question = button.question.format_map(words)
        block["confirm"] = {
            "title": _plain_text(button.label, 100),
            "text": _plain_text(question, 300),
            "confirm": _plain_text(button.label, 30),
            "deny": _plain_text("Cancel", 30),
        }
        if button.style:
            block["confirm"]["style"] = button.style
    return block


def offer(view: WatchView, verb: Verb) -> list[Block]:
    """Return one decision about a watch with its button, as the answer to a command."""
    return [
        _section([_what(view), *_case(view)]),
        {"type": "actions", "elements": [_button(view, verb)]},
    ]


def explanation(view: WatchView, links: Links) -> list[Block]:
    """Return a watch in full, without buttons."""
    return [block for block in message(view, links) if block["type"] != "actions"]


def thread(items: Sequence[TimelineItem]) -> list[Block]:
    """Return what happened, a line each, for the thread under the message."""
    shown = [f"{moment(i.at, '{time_secs}')}  {escape(i.text, 600)}" for i in items]
    if len(shown) > THREAD_LINES:
        shown = [f"… {len(shown) - THREAD_LINES} earlier events", *shown[-THREAD_LINES:]]
    return [_section(shown)]


def listing(views: Sequence[WatchView]) -> list[Block]:
    """Return watches in two lines each, those that matter most first."""
    order = [Severity.CRITICAL, Severity.WARNING, Severity.INFO]
    ranked = sorted(views, key=lambda v: (v.final, order.index(severity(v)), -v.started_at))
    blocks = [_section(_brief(view)) for view in ranked[:SHOWN_AT_HOME]]
    if not blocks:
        return [_section(["Nothing is being rolled out that rollbackd watches."])]
    if len(ranked) > SHOWN_AT_HOME:
        blocks.append(_section([f"… and {len(ranked) - SHOWN_AT_HOME} more"]))
    return blocks


def _brief(view: WatchView) -> list[str]:
    stand = [f"*{escape(view.phase)}*", escape(view.verdict)]
    if is_rollout(view):
        stand.append(f"evidence {write_e(view.evidence)} of {write_e(view.limit)}")
    stand = [*filter(None, stand), f"mode {code(view.mode)}"]
    return [
        f"{_SIGN_OF[severity(view)]} {_what(view)}",
        f"{' · '.join(stand)}\n{escape(view.outlook)}",
    ]


def home(views: Sequence[WatchView], now: float) -> Block:
    """Return the home tab: everything that is being watched."""
    going = [view for view in views if not view.final]
    seen = _section([f"As of {moment(now)}. Open this tab again to refresh it."])
    title = {"type": "header", "text": _plain_text("What rollbackd is watching", HEADER)}
    return {"type": "home", "blocks": [title, *listing(going), seen]}


def _section(lines: list[str]) -> Block:
    return {"type": "section", "text": _mrkdwn(fitted(lines), SECTION)}


def _mrkdwn(text: str, most: int) -> Block:
    # verbatim: nothing in the text becomes a link or a mention unless we made it one
    return {"type": "mrkdwn", "text": text[:most], "verbatim": True}


def _plain_text(text: str, most: int) -> Block:
    return {"type": "plain_text", "text": plain(text, most) or " ", "emoji": False}
