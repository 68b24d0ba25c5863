"""Views as JSON and back: what the API answers, the journal keeps, and the terminal reads.

JSON has no infinities; they are written as ``"Infinity"``, ``"-Infinity"`` and ``"NaN"``. Unknown
keys are ignored when reading, so that a newer daemon can be asked by an older command.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rollbackd.views import WatchView

_VIEW = TypeAdapter(WatchView)


class NotAView(ValueError):
    """What was read is not a WatchView; says which key is wrong."""


def view_to_json(view: WatchView) -> dict[str, Any]:
    """Return a view as plain JSON values."""
    return {name: _plain(getattr(view, name)) for name in _names(type(view))}


def view_from_json(values: object) -> WatchView:
    """Return the view that plain JSON values say.

    Raises:
        NotAView: a key is missing or has the wrong kind of value.
    """
    try:
        return _VIEW.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotAView(f"{where or 'the view'}: {first['msg']}") from error


def views_to_json(views: Iterable[WatchView]) -> list[dict[str, Any]]:
    """Return what ``GET /api/v1/watches`` answers: a list of views."""
    return [view_to_json(view) for view in views]


def views_from_json(values: object) -> list[WatchView]:
    """Return the views of an answer of ``GET /api/v1/watches``. Raises NotAView."""
    if not isinstance(values, list):
        raise NotAView("expected a list of views")
    return [view_from_json(view) for view in values]


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in _names(type(value))}
    return value


def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
