"""What concerns several keys of the file at once.

Checked on the plain values, not on the models: so a mistake in one place does not hide these.
Values of a wrong kind are skipped here; the models complain about them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from actions.gitops_hold import NAME as HOLD
from rollbackd.config.problems import Fault, Location

SOURCES = ("prometheus", "scrape", "recorded")
TRACES = ("receiver", "tempo", "jaeger")
ROLLOUTS = ("kubernetes", "static", "static_file")
ACTIONS = ("kubernetes-rollback", "nginx-switch", "splitter-switch")
NOTIFIERS = ("slack", "webhook", "pagerduty", "apprise", "alertmanager", "grafana")
SIGNALS = (
    *("ratio", "histogram", "interval", "level", "gauge", "leak", "rate", "traffic"),
    "traces",
)
EVENTS = ("ratio", "interval", "traces")
"""Kinds of signals that count events, and so have rates."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What policies can build on, for checking them; None: not known, so not checked.

    Attributes:
        actions: names of those they may use. rollbacks: which of them roll back in the cluster.
        traces: whether traces come from anywhere.
    """

    actions: tuple[str, ...] | None = None
    rollbacks: frozenset[str] | None = None
    traces: bool | None = None


def cross_checks(values: dict[str, Any]) -> Iterator[Fault]:
    """Yield what does not fit together."""
    yield from _source(values)
    yield from _traces(values)
    yield from _rollouts(values)
    yield from _actions(values)
    notifiers = _items(values, "notifiers")
    yield from _unique(("notifiers",), notifiers, "notifier")
    for i, notifier in notifiers:
        yield from _exactly_one(("notifiers", i), notifier, NOTIFIERS)
    yield from _unique(("trains",), _items(values, "trains"), "train")
    yield from _leadership(values)
    policies = _items(values, "policies")
    yield from _unique(("policies",), policies, "policy")
    offer = _offer(values)
    for i, policy in policies:
        yield from policy_checks(("policies", i), policy, offer)
    yield from _policy_resources(values, offer)
    yield from _login(values)
    regions = values.get("regions")
    if isinstance(regions, dict):
        yield from _signals(("regions",), regions)


def policy_checks(location: Location, policy: dict[str, Any], offer: Offer) -> Iterator[Fault]:
    """Yield what does not fit together in one policy, or with what it builds on."""
    yield from _hold(location, policy, offer)
    yield from _policy(location, policy, offer)
    yield from _traced(location, policy, offer)


def _offer(values: dict[str, Any]) -> Offer:
    named = [
        (a["name"], a) for _, a in _items(values, "actions") if isinstance(a.get("name"), str)
    ]
    return Offer(
        actions=tuple(name for name, _ in named),
        rollbacks=frozenset(n for n, a in named if a.get("kubernetes-rollback") is not None),
        traces=values.get("traces") is not None,
    )


def _policy_resources(values: dict[str, Any], offer: Offer) -> Iterator[Fault]:
    """Yield what cannot be allowed to policies of the cluster."""
    location: Location = ("rollouts", "kubernetes", "policy_resources")
    found: object = values
    for key in location:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        return
    names = found.get("actions")
    yield from _action_names((*location, "actions"), names, offer.actions or ())
    if found.get("mode") in {"approve", "enforce"} and not (
        offer.rollbacks if names is None else names
    ):
        yield Fault(
            (*location, "mode"),
            f"mode {found['mode']} needs at least one action that such policies may use",
            "add a kubernetes-rollback action, or use mode observe",
        )


def _login(values: dict[str, Any]) -> Iterator[Fault]:
    """Yield when people are to be known by a cluster, and there is none."""
    http, rollouts = values.get("http"), values.get("rollouts")
    asked = isinstance(http, dict) and http.get("kubernetes") is not None
    if asked and isinstance(rollouts, dict) and rollouts.get("kubernetes") is None:
        yield Fault(
            ("http", "kubernetes"),
            "there is no cluster that could tell who people are",
            "name it under rollouts.kubernetes, or sign people in by http.proxy",
        )


def _traces(values: dict[str, Any]) -> Iterator[Fault]:
    """Yield when the place where traces come from is missing, or there are several."""
    traces = values.get("traces")
    if isinstance(traces, dict):
        # two of them would count the same spans twice
        yield from _exactly_one(("traces",), traces, TRACES)


def _traced(location: Location, policy: dict[str, Any], offer: Offer) -> Iterator[Fault]:
    """Yield signals of traces where no traces come from anywhere."""
    if offer.traces is not False:
        return
    for i, signal in _items(policy, "signals"):
        if signal.get("traces") is not None:
            yield Fault(
                (*location, "signals", i, "traces"),
                "no source of traces is configured",
                "add, at the top, traces: {receiver: {listen: 0.0.0.0:4318}}",
            )


def _source(values: dict[str, Any]) -> Iterator[Fault]:
    source = values.get("source")
    if isinstance(source, dict):
        yield from _exactly_one(("source",), source, SOURCES)
        scrape = source.get("scrape")
        if isinstance(scrape, dict) and not (scrape.get("targets") or scrape.get("targets_file")):
            yield Fault(
                ("source", "scrape"), "there is nothing to scrape", "give targets or targets_file"
            )


def _rollouts(values: dict[str, Any]) -> Iterator[Fault]:
    rollouts = values.get("rollouts")
    if not isinstance(rollouts, dict):
        return
    if all(rollouts.get(kind) in (None, []) for kind in ROLLOUTS):
        yield Fault(
            ("rollouts",),
            f"at least one of {', '.join(ROLLOUTS)} is needed",
            "kubernetes: {} watches every Deployment",
        )
    yield from static_checks(rollouts.get("static"), ("rollouts", "static"))


def static_checks(static: object, location: Location) -> Iterator[Fault]:
    """Yield workloads that are there twice in a list of static rollouts."""
    seen: dict[tuple[object, ...], int] = {}
    for i, rollout in _items({"": static}, ""):
        keys = ("cluster", "namespace", "name")
        who = tuple(str(rollout.get(key) or "default") for key in keys)
        if isinstance(rollout.get("name"), str) and who in seen:
            yield Fault(
                (*location, i, "name"),
                f"{who[1]}/{who[2]} is there already, at [{seen[who]}]",
                "a workload has one rollout at a time",
            )
        seen.setdefault(who, i)


def _actions(values: dict[str, Any]) -> Iterator[Fault]:
    actions = _items(values, "actions")
    yield from _unique(("actions",), actions, "action")
    yield from _gitops(values, actions)
    rollouts = values.get("rollouts")
    for i, action in actions:
        yield from _exactly_one(("actions", i), action, ACTIONS)
        if (
            action.get("kubernetes-rollback") is not None
            and isinstance(rollouts, dict)
            and rollouts.get("kubernetes") is None
        ):
            yield Fault(
                ("actions", i, "kubernetes-rollback"),
                "no cluster is configured",
                "add rollouts.kubernetes, or choose another action",
            )


def _gitops(values: dict[str, Any], actions: list[tuple[int, dict[str, Any]]]) -> Iterator[Fault]:
    for i, action in actions:
        if action.get("name") == HOLD:
            yield Fault(
                ("actions", i, "name"), f'"{HOLD}" is an action of ours', "choose another name"
            )
    rollouts = values.get("rollouts")
    places: list[tuple[Location, object]] = [(("guards",), values.get("guards"))]
    places += [(("policies", i, "guards"), p.get("guards")) for i, p in _items(values, "policies")]
    for location, guards in places:
        if not isinstance(guards, dict) or guards.get("gitops") != "hold":
            continue
        if isinstance(rollouts, dict) and rollouts.get("kubernetes") is None:
            yield Fault(
                (*location, "gitops"),
                "no cluster is configured, so there is no owner to hold",
                "add rollouts.kubernetes, or use refuse or warn",
            )


def _hold(location: Location, policy: dict[str, Any], offer: Offer) -> Iterator[Fault]:
    """Yield a hold whose rollout could not be rolled back."""
    if policy.get("hold") is None or offer.rollbacks is None:
        return
    names = policy.get("actions")
    used = {n for n in names if isinstance(n, str)} if isinstance(names, list) else set()
    if not offer.rollbacks & used:
        yield Fault(
            (*location, "hold"),
            "a rollout that is held and found bad could not be rolled back",
            "add a kubernetes-rollback action to the policy",
        )


def _leadership(values: dict[str, Any]) -> Iterator[Fault]:
    """Replicas need a journal that they can share, and a Lease needs a cluster."""
    leadership, journal, rollouts = (
        found if isinstance(found := values.get(key), dict) else {}
        for key in ("leadership", "journal", "rollouts")
    )
    if leadership and not (journal.get("dsn_env") or journal.get("dsn_file")):
        yield Fault(
            ("leadership",),
            "an SQLite journal has one writer, so there is one replica and nothing to elect",
            "give journal.dsn_env or dsn_file (PostgreSQL), or remove this",
        )
    if leadership.get("lease_namespace") and rollouts.get("kubernetes") is None:
        yield Fault(
            ("leadership", "lease_namespace"),
            "no cluster is configured",
            "add rollouts.kubernetes, or remove it: the lease is then kept beside the journal",
        )


def _policy(location: Location, policy: dict[str, Any], offer: Offer) -> Iterator[Fault]:
    known = offer.actions
    signals = _items(policy, "signals")
    yield from _signals(location, policy)
    acting = [signal for _, signal in signals if signal.get("tier", _tier(signal)) != "info"]
    if acting and all(signal.get("weight", 0.5) == 0 for signal in acting):
        yield Fault(
            (*location, "signals"),
            "the weights of all signals that may act are 0",
            "give at least one a weight, such as 0.5",
        )
    if signals and not acting and policy.get("mode") in {"approve", "enforce"}:
        yield Fault(
            (*location, "mode"),
            f"mode {policy['mode']}, and every signal is info: nothing could ever act",
            "make a signal critical, or use mode observe",
        )
    names = policy.get("actions") or []
    if not names and policy.get("mode") in {"approve", "enforce"}:
        choices = f"known: {', '.join(known)}" if known else "configure one under actions first"
        yield Fault(
            (*location, "mode"),
            f"mode {policy['mode']} needs at least one action",
            f"add actions: [...] ({choices}), or use mode observe",
        )
    if policy.get("hold") is not None and policy.get("mode", "observe") == "observe":
        yield Fault(
            (*location, "hold"),
            "mode observe changes nothing, and a hold pauses Deployments",
            "use mode approve or enforce, or remove hold",
        )
    if known is not None:
        yield from _action_names((*location, "actions"), names, known)


def _tier(signal: dict[str, Any]) -> str:
    return "info" if signal.get("traffic") is not None else "critical"


def _action_names(location: Location, names: object, known: Sequence[str]) -> Iterator[Fault]:
    if not isinstance(names, list):
        return
    for i, name in enumerate(names):
        if not isinstance(name, str):
            continue
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"known: {', '.join(known)}" if known else "configure it under actions"
            yield Fault(
                (*location, i),
                f'no action is called "{name}"',
                f'did you mean "{close[0]}"?' if close else hint,
            )
        elif name in names[:i]:
            yield Fault((*location, i), f'"{name}" is there already', "an action is used once")


def _signals(location: Location, holder: dict[str, Any]) -> Iterator[Fault]:
    signals = _items(holder, "signals")
    yield from _unique((*location, "signals"), signals, "signal")
    for i, signal in signals:
        yield from _signal((*location, "signals", i), signal)


def _signal(location: Location, signal: dict[str, Any]) -> Iterator[Fault]:
    yield from _exactly_one(location, signal, SIGNALS)
    given = {kind for kind in SIGNALS if signal.get(kind) is not None}
    if given and given.isdisjoint(EVENTS):
        for key in ("floor", "harm_rate"):
            if key in signal:
                yield Fault(
                    (*location, key), "only ratios, intervals and traces have this", "remove it"
                )


def _exactly_one(
    location: Location, values: dict[str, Any], choices: Sequence[str]
) -> Iterator[Fault]:
    given = [choice for choice in choices if values.get(choice) is not None]
    if len(given) == 1:
        return
    hint = ""
    empty = [choice for choice in choices if choice in values]
    if not given and empty:
        hint = f"{empty[0]} has no value: write {empty[0]}: {{}} for its defaults"
    what = f"exactly one of {', '.join(choices)} is needed"
    yield Fault(location, f"{what}, not {' and '.join(given)}" if given else what, hint)


def _unique(
    location: Location, items: list[tuple[int, dict[str, Any]]], kind: str
) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for i, item in items:
        name = item.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            what = f'another {kind}, {location[-1]}[{seen[name]}], is called "{name}", too'
            yield Fault((*location, i, "name"), what, "give each a name of its own")
        seen.setdefault(name, i)


def _items(values: dict[str, Any], key: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the mappings in a list, with their positions; nothing when it is no list."""
    found = values.get(key)
    if not isinstance(found, list):
        return []
    return [(i, item) for i, item in enumerate(found) if isinstance(item, dict)]
