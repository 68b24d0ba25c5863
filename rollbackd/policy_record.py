"""A policy as the journal keeps it, so that a watch can go on, and be replayed, as it began."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from analyzer.policy import Policy
from analyzer.signal import Signal

_KINDS: dict[str, type] = {kind.__name__: kind for kind in get_args(Signal)}


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """Return a policy as plain JSON values; each signal names its kind."""
    values = {f.name: getattr(policy, f.name) for f in fields(policy) if f.name != "signals"}
    plain: dict[str, Any] = TypeAdapter(dict[str, Any]).dump_python(values, mode="json")
    return plain | {"signals": [_signal_to_json(signal) for signal in policy.signals]}


def policy_from_json(data: Mapping[str, Any]) -> Policy:
    """Return the policy that ``policy_to_json`` wrote. Raises ValueError for other data."""
    known = {f.name for f in fields(Policy)}
    try:
        signals = tuple(_signal_from_json(each) for each in data["signals"])
        values = {name: value for name, value in data.items() if name in known}
        return TypeAdapter(Policy).validate_python({**values, "signals": signals})
    except (KeyError, TypeError, ValidationError) as error:
        raise ValueError(f"this is no policy as the journal keeps them: {error}") from error


def _signal_to_json(signal: Signal) -> dict[str, Any]:
    kind = type(signal)
    values: dict[str, Any] = TypeAdapter(kind).dump_python(signal, mode="json")
    return {"is": kind.__name__} | values


def _signal_from_json(data: Mapping[str, Any]) -> Signal:
    values = {name: value for name, value in data.items() if name != "is"}
    signal: Signal = TypeAdapter(_KINDS[data["is"]]).validate_python(values)
    return signal
