"""What is told of a RollbackPolicy in its status: conditions, watches in progress, last action."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from analyzer.judge import Verdict
from analyzer.watch import Phase
from rollbackd.config.custom_resource import (
    LONGEST_MESSAGE,
    LONGEST_TEXT,
    MOST_REASONS,
    MOST_WATCHES,
)
from rollbackd.policies.resource import PolicyResource
from rollbackd.views import WatchView

Status = dict[str, Any]

_WORST_FIRST = (Verdict.DEGRADED, Verdict.SHARED_INCIDENT, Verdict.INCONCLUSIVE, Verdict.HEALTHY)
_DONE = frozenset(
    {Phase.ACTING, Phase.VERIFYING, Phase.ROLLED_BACK, Phase.REPORTED, Phase.NEEDS_HUMAN}
)
"""Phases in which something was done, or would have been."""


def status_of(
    policy: PolicyResource, before: Mapping[str, Any], views: Sequence[WatchView], now: float
) -> Status:
    """Return the status that a policy should have.

    Args:
        policy: as it is now.
        before: its status so far: what did not change keeps its time, and an action is remembered
            when its watch is long forgotten.
        views: of all watches.
        now: seconds since the epoch.
    """
    own = [view for view in views if view.policy == policy.full_name]
    going = sorted((view for view in own if not view.final), key=_worst_first)
    verdict = going[0].verdict if going else ""
    action = _last_action(own, before)
    found: Status = {
        "observedGeneration": policy.generation,
        "conditions": _conditions(policy, going, before, now),
        "watching": len(going),
        "watches": [_watch(view) for view in going[:MOST_WATCHES]],
    }
    if policy.read is not None:
        found["mode"] = policy.read.rule.policy.mode.value
    if verdict:
        found["verdict"] = verdict
    if action:
        found["lastAction"] = action
    return found


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Status:
    """Return the merge patch that makes one status of the other; lists are replaced whole."""
    gone: Status = dict.fromkeys(before.keys() - after.keys())
    return gone | {key: value for key, value in after.items() if before.get(key) != value}


def essence(status: Mapping[str, Any]) -> Status:
    """Return a status without the numbers, which are a little different at every look."""
    watches = [
        {key: value for key, value in watch.items() if key != "reasons"}
        for watch in status.get("watches") or ()
    ]
    conditions = [
        {key: value for key, value in each.items() if key != "message" or each["type"] == "Ready"}
        for each in status.get("conditions") or ()
    ]
    return {**status, "watches": watches, "conditions": conditions}


def _worst_first(view: WatchView) -> tuple[int, float]:
    order = [verdict.value for verdict in _WORST_FIRST]
    rank = order.index(view.verdict) if view.verdict in order else len(order)
    return rank, -view.started_at


def _conditions(
    policy: PolicyResource, going: Sequence[WatchView], before: Mapping[str, Any], now: float
) -> list[Status]:
    harmed = [view for view in going if view.verdict == Verdict.DEGRADED]
    said = {
        "Ready": _ready(policy),
        "Limited": _limited(policy),
        "Degraded": ("False", "NothingDegraded", "harm is proved on no rollout in progress"),
    }
    if harmed:
        first = harmed[0]
        why = f": {first.reasons[0]}" if first.reasons else ""
        said["Degraded"] = ("True", "RolloutDegraded", f"{first.workload} {first.canary}{why}")
    old = {each.get("type"): each for each in before.get("conditions") or ()}
    made = []
    for kind, (status, reason, message) in said.items():
        last = old.get(kind, {})
        same = last.get("status") == status and last.get("lastTransitionTime")
        made.append(
            {
                "type": kind,
                "status": status,
                "observedGeneration": policy.generation,
                "lastTransitionTime": last["lastTransitionTime"] if same else stamp(now),
                "reason": reason,
                "message": _cut(message, LONGEST_MESSAGE),
            }
        )
    return made


def _ready(policy: PolicyResource) -> tuple[str, str, str]:
    if not policy.trouble:
        return "True", "Valid", "it is in force"
    if policy.read is not None:
        kept = "its last valid version stays in force"
        return "False", "InvalidVersion", f"{policy.trouble}; {kept}"
    kept = "the workloads that it means are not watched until it is mended"
    return "False", "Invalid", f"{policy.trouble}; {kept}"


def _limited(policy: PolicyResource) -> tuple[str, str, str]:
    if policy.read is None:
        return "Unknown", "Invalid", "it has no valid version"
    asked, mode = policy.read.asked, policy.read.rule.policy.mode
    if asked is mode:
        return "False", "AsAsked", f"mode {mode.value}, as it asks for"
    where = "rollouts.kubernetes.policy_resources.mode"
    message = f"it asks for mode {asked.value}; {where} of the configuration is {mode.value}"
    return "True", "ModeLimited", message


def _watch(view: WatchView) -> Status:
    return {
        "workload": _cut(view.workload),
        "canary": _cut(view.canary),
        "baseline": _cut(view.baseline),
        "phase": view.phase,
        "verdict": view.verdict,
        "since": stamp(view.since or view.started_at),
        "reasons": [_cut(reason) for reason in view.reasons[:MOST_REASONS]],
    }


def _last_action(own: Sequence[WatchView], before: Mapping[str, Any]) -> Status:
    """Return the newest thing that was done: of the watches that are known, or told before."""
    done = [
        (item.at, view, item.text)
        for view in own
        for item in view.timeline
        if item.kind == "phase" and item.text.partition(": ")[0] in _DONE
    ]
    told: Status = dict(before.get("lastAction") or {})
    if not done:
        return told
    at, view, text = max(done, key=lambda each: each[0])
    phase, _, note = text.partition(": ")
    found = {
        "time": stamp(at),
        "workload": _cut(view.workload),
        "canary": _cut(view.canary),
        "phase": phase,
        "text": _cut(note or phase),
    }
    # Times of one format and zone are ordered as texts.
    return told if str(told.get("time", "")) > found["time"] else found


def _cut(text: str, longest: int = LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def stamp(at: float) -> str:
    """Return a time as the API server writes it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
