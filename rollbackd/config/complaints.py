"""pydantic's errors, translated into what a person can do about them."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rollbackd.config.problems import Fault, Location, key_path
from rollbackd.config.quantities import shown

_KINDS = {
    "model_type": ("a mapping of keys", ""),
    "model_attributes_type": ("a mapping of keys", ""),
    "dict_type": ("a mapping of keys", ""),
    "list_type": ("a list", "write [...] or lines that begin with -"),
    "string_type": ("text", "put it in quotes"),
    "bool_type": ("true or false", ""),
    "float_type": ("a number", ""),
    "int_type": ("a whole number", ""),
    "finite_number": ("a finite number", ""),
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def faults(error: ValidationError, model: type[BaseModel]) -> Iterator[Fault]:
    """Yield one fault for each of pydantic's errors.

    Args:
        error: what validation raised.
        model: the model of the whole file.
    """
    for details in error.errors(include_url=False):
        location = tuple(part for part in details["loc"] if part != "[key]")
        what, hint = _complaint(details, location, model)
        yield Fault(location, what, hint)


def _complaint(
    details: ErrorDetails, location: Location, model: type[BaseModel]
) -> tuple[str, str]:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if "what" in context:
        return context["what"], context["hint"]
    if kind in _KINDS:
        expected, hint = _KINDS[kind]
        hint = "" if isinstance(given, list | dict) and kind == "string_type" else hint
        return f"expected {expected}, got {shown(given)}", hint
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}, and is {given}", ""
    match kind:
        case "extra_forbidden":
            return "unknown key", _meant(str(location[-1]), _keys(model, location[:-1]), model)
        case "missing":
            return "is missing", _description(model, location)
        case "enum":
            words = context["expected"].replace("'", "")
            allowed = [word for part in words.split(", ") for word in part.split(" or ")]
            close = get_close_matches(str(given), allowed, n=1)
            hint = f'did you mean "{close[0]}"?' if close else ""
            return f"{shown(given)} is not one of {', '.join(allowed)}", hint
        case "string_too_short" | "too_short":
            return "must not be empty", _description(model, location)
        case "too_long":
            return f"at most {context['max_length']} are possible", _description(model, location)
        case "invalid_key":
            return "a key that is not text", "put it in quotes"
        case _:
            return details["msg"], ""


def _meant(key: str, known: Sequence[str], model: type[BaseModel]) -> str:
    """Return a hint for an unknown key: what was meant, where it belongs, or what there is."""
    plain = {name.replace("-", "_"): name for name in known}
    close = get_close_matches(key.lower().replace("-", "_"), plain, n=1)
    if close:
        return f'did you mean "{plain[close[0]]}"?'
    # the outermost place wins, and of equal ones the first in the file
    elsewhere: dict[str, str] = {}
    for place, names in sorted(_places(model), key=lambda found: found[0].count(".")):
        for name in names:
            elsewhere.setdefault(name, place)
    if key in elsewhere:
        return f"it belongs {elsewhere[key]}"
    close = get_close_matches(key, elsewhere, n=1)
    if close:
        return f'did you mean "{close[0]}"? It belongs {elsewhere[close[0]]}'
    return f"known here: {', '.join(known)}" if known else "nothing can be set here"


def _places(model: type[BaseModel], location: Location = ()) -> Iterator[tuple[str, list[str]]]:
    """Yield every mapping of the file for people, with its keys; the outer after the inner."""
    keys = _keys(model, ())
    for key in keys:
        # A list's items are all of one model: item 0 stands for them.
        for inner in ((key,), (key, 0)):
            found = _model_at(model, inner)
            if found is not None:
                yield from _places(found, (*location, *inner))
    place = key_path(location).replace("[0]", "[]")
    yield f"under {place}" if place else "at the top of the file", keys


def _description(model: type[BaseModel], location: Location) -> str:
    parent = _model_at(model, location[:-1])
    fields = {} if parent is None else {f.alias or n: f for n, f in parent.model_fields.items()}
    field = fields.get(str(location[-1])) if location else None
    text = " ".join((field.description or "").split()) if field else ""
    return text.split(". ")[0].removesuffix(".")


def _keys(model: type[BaseModel], location: Location) -> list[str]:
    found = _model_at(model, location)
    return [] if found is None else [f.alias or name for name, f in found.model_fields.items()]


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel] | None:
    """Return the model of the mapping at a location, or None when there is none."""
    current: Any = model
    for part in location:
        if isinstance(part, int):
            current = next(iter(get_args(current)), None)
        elif isinstance(current, type) and issubclass(current, BaseModel):
            by_key = {f.alias or name: f for name, f in current.model_fields.items()}
            current = by_key[part].annotation if part in by_key else None
        else:
            return None
        if get_origin(current) in {Union, UnionType}:
            current = next(a for a in get_args(current) if a is not type(None))
        if get_origin(current) is Annotated:
            current = get_args(current)[0]
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None
