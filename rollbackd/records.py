"""Between values and the journal's plain JSON: watches, rosters and what comparisons began with.

JSON has no infinity and no NaN; an open end of a stay is null, and so is an unknown number.
"""

from collections.abc import Mapping
from dataclasses import fields
from math import inf, isfinite, nan
from typing import Any

import numpy as np

from analyzer.distress import Facts, Standing
from analyzer.families.family import Armed
from analyzer.policy import Mode
from analyzer.rollout import Revision, Side, Workload
from analyzer.roster import Roster, Stay
from analyzer.watch import Hold, Phase, Watch
from detectors.counts import CountNoise
from detectors.latency import LatencyNoise
from detectors.level_noise import LevelNoise
from detectors.means import MeanNoise
from detectors.route_noise import RouteNoise
from detectors.rows import Rows
from detectors.trend_noise import TrendNoise

NOISES: dict[str, type[Rows]] = {
    t.__name__: t
    for t in (CountNoise, MeanNoise, LatencyNoise, LevelNoise, TrendNoise, RouteNoise)
}


def watch_to_json(watch: Watch) -> dict[str, Any]:
    """Return a watch as plain JSON values; the last judgement is told by the view instead."""
    return {
        "id": watch.id,
        "workload": {
            "cluster": watch.workload.cluster,
            "namespace": watch.workload.namespace,
            "kind": watch.workload.kind,
            "name": watch.workload.name,
        },
        "canary": _revision(watch.canary),
        "baseline": None if watch.baseline is None else _revision(watch.baseline),
        "policy": watch.policy,
        "mode": watch.mode.value,
        "started_at": watch.started_at,
        "since": watch.since,
        "phase": watch.phase.value,
        "note": watch.note,
        "hold": None if watch.hold is None else watch.hold.value,
        "snoozed_until": watch.snoozed_until,
        "plan_key": watch.plan_key,
        "attempts": watch.attempts,
        "demanded_by": watch.demanded_by,
        "approved_by": watch.approved_by,
        "turn": watch.turn,
        "was_reported": watch.was_reported,
        "annotations": dict(watch.annotations),
        "after_promotion": watch.after_promotion,
    }


def watch_from_json(data: Mapping[str, Any]) -> Watch:
    """Return the watch that ``watch_to_json`` wrote. Raises KeyError, TypeError or ValueError."""
    return Watch(
        id=data["id"],
        workload=Workload(**data["workload"]),
        canary=Revision(**data["canary"]),
        baseline=None if data["baseline"] is None else Revision(**data["baseline"]),
        policy=data["policy"],
        mode=Mode(data["mode"]),
        started_at=data["started_at"],
        since=data["since"],
        phase=Phase(data["phase"]),
        note=data["note"],
        hold=None if data["hold"] is None else Hold(data["hold"]),
        snoozed_until=data["snoozed_until"],
        plan_key=data["plan_key"],
        attempts=data["attempts"],
        # entries of the first version do not have these
        demanded_by=data.get("demanded_by", ""),
        approved_by=data.get("approved_by", ""),
        turn=data.get("turn", 0),
        was_reported=data.get("was_reported", False),
        annotations=data.get("annotations", {}),
        after_promotion=data.get("after_promotion", False),
    )


def _revision(revision: Revision) -> dict[str, str]:
    return {"id": revision.id, "label": revision.label}


def roster_to_json(roster: Roster) -> dict[str, Any]:
    """Return a roster as plain JSON values."""
    return {
        "stays": [
            {
                "id": list(s.id),
                "side": s.side.value,
                "since": s.since if isfinite(s.since) else None,
                "until": s.until if isfinite(s.until) else None,
                "started_at": s.started_at,
            }
            for s in roster.stays
        ]
    }


def roster_from_json(data: Mapping[str, Any]) -> Roster:
    """Return the roster that ``roster_to_json`` wrote. Raises KeyError or ValueError."""
    return Roster(
        tuple(
            Stay(
                tuple(s["id"]),
                Side(s["side"]),
                -inf if s["since"] is None else s["since"],
                inf if s["until"] is None else s["until"],
                s["started_at"],
            )
            for s in data["stays"]
        )
    )


def facts_to_json(facts: Facts) -> dict[str, Any]:
    """Return what the cluster said, as plain JSON values; who was warm is told by the roster."""
    return {"standing": facts.standing.value, "text": facts.text}


def facts_from_json(data: Mapping[str, Any]) -> Facts:
    """Return what ``facts_to_json`` wrote. Raises KeyError or ValueError."""
    return Facts(Standing(data["standing"]), data["text"])


def armed_to_json(armed: Mapping[str, Armed[Any]]) -> dict[str, Any]:
    """Return what each signal's comparison began with, as plain JSON values."""
    return {
        "signals": {
            name: {
                "at": a.at,
                "bounds": [_number(b) for b in a.bounds],
                "noise": _rows_to_json(a.noise),
            }
            for name, a in armed.items()
        }
    }


def armed_from_json(data: Mapping[str, Any]) -> dict[str, Armed[Any]]:
    """Return what ``armed_to_json`` wrote. Raises KeyError, TypeError or ValueError."""
    return {
        name: Armed(
            at=a["at"],
            noise=_rows_from_json(a["noise"]),
            bounds=tuple(inf if b is None else b for b in a["bounds"]),
        )
        for name, a in data["signals"].items()
    }


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _rows_to_json(rows: Rows) -> dict[str, Any]:
    """Return a batch of rows by field, with its type's name, element type and shape."""
    columns: dict[str, Any] = {}
    for field in fields(rows):
        value = getattr(rows, field.name)
        if isinstance(value, Rows):
            columns[field.name] = _rows_to_json(value)
        else:
            flat = value.ravel().tolist()
            columns[field.name] = {
                "dtype": str(value.dtype),
                "shape": list(value.shape),
                "values": [_special(x) for x in flat],
            }
    return {"type": type(rows).__name__, "columns": columns}


def _special(value: float) -> float | str:
    """Return a number, or the name of one that JSON lacks."""
    return value if isfinite(value) else str(value)


def _rows_from_json(data: Mapping[str, Any]) -> Rows:
    columns = {
        name: _rows_from_json(column) if "type" in column else _array(column)
        for name, column in data["columns"].items()
    }
    return NOISES[data["type"]](**columns)


def _array(column: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    special = {"nan": nan, "inf": inf, "-inf": -inf}
    values = [special[x] if isinstance(x, str) else x for x in column["values"]]
    return np.array(values, dtype=column["dtype"]).reshape(column["shape"])
