"""Durations, sizes, ratios and shares as people write them; a number without a unit is refused."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}
_LONGEST = 32
"""Characters of a quantity, for the schemas: nobody needs more."""
_LINE = 60
"""Longer values are cut in messages."""

_NUMBER = r"(?:\d+(?:\.\d+)?|\.\d+)"
_DURATION = rf"(?:{_NUMBER}(?:ms|s|m|h|d))+"
_SIZE = rf"{_NUMBER} ?(?:{'|'.join(_BYTES)})"
_RATIO = rf"[+-]{_NUMBER} ?%|{_NUMBER}"
_SHARE = rf"{_NUMBER}(?: ?%)?"


def fault(what: str, hint: str = "") -> PydanticCustomError:
    """Return the error that a validator raises, with the hint for the reader of the file."""
    return PydanticCustomError("rollbackd", "{what}", {"what": what, "hint": hint})


def shown(value: object) -> str:
    """Return a value of the file as a person recognises it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            short = value if len(value) <= _LINE else f"{value[: _LINE - 3]}..."
            return f"'{short}'" if '"' in short else f'"{short}"'
        case list():
            return "a list"
        case dict():
            return "a mapping of keys"
        case _:
            return f"a {type(value).__name__}"


def parse_duration(value: object) -> float:
    """Return seconds: ``10s`` is 10, ``1h30m`` is 5400, ``500ms`` is 0.5.

    Raises:
        PydanticCustomError: not a duration, negative, or without a unit.
    """
    text = _text(value, "a duration", "such as 10s, 2m or 1h30m")
    if re.fullmatch(_NUMBER, text):
        raise fault(f"the duration {text} has no unit", f"write {text}s for seconds")
    if text.startswith("-"):
        raise fault(f"a duration cannot be negative: {shown(text)}")
    if not re.fullmatch(_DURATION, text):
        raise fault(f"not a duration: {shown(text)}", "units are ms, s, m, h, d, as in 1h30m")
    parts = re.findall(rf"({_NUMBER})(ms|s|m|h|d)", text)
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Return seconds as people write them: 5400 is ``1h30m``; exact to the millisecond."""
    left = round(seconds * 1000)
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_size(value: object) -> int:
    """Return bytes: ``64MiB`` is 67108864.

    Raises:
        PydanticCustomError: not a size, or without a unit.
    """
    text = _text(value, "a size", "such as 64MiB")
    if re.fullmatch(_NUMBER, text):
        raise fault(f"the size {text} has no unit", "write B, KiB, MiB or GiB behind it")
    found = re.fullmatch(rf"({_NUMBER}) ?([A-Za-z]+)", text)
    if found is None or found[2] not in _BYTES:
        raise fault(f"not a size: {shown(text)}", f"units are {', '.join(_BYTES)}, as in 64MiB")
    size = int(float(found[1]) * _BYTES[found[2]])
    if size <= 0:
        raise fault(f"a size must be more than nothing: {shown(text)}")
    return size


def parse_ratio(value: object) -> float:
    """Return a ratio: ``+25%`` and ``1.25`` are 1.25.

    Raises:
        PydanticCustomError: not a ratio, or a percentage without a sign.
    """
    text = _text(value, "a ratio", 'such as 1.25 or "+25%"')
    if re.fullmatch(rf"{_NUMBER} ?%", text):
        number = float(text.removesuffix("%"))
        raise fault(
            f"{shown(text)} could mean two things",
            f'write "+{text}" for {1 + number / 100:g} times the baseline',
        )
    if re.fullmatch(r"[+-].*%", text) and re.fullmatch(_RATIO, text):
        return round(1 + float(text.removesuffix("%")) / 100, 9)
    if not re.fullmatch(_NUMBER, text):
        raise fault(f"not a ratio: {shown(text)}", 'such as 1.25 or "+25%"')
    return float(text)


def parse_share(value: object) -> float:
    """Return a share of all events, 0 to 1: ``0.1%`` and ``0.001`` are 0.001.

    Raises:
        PydanticCustomError: not a share, or not between 0 and 100 %.
    """
    text = _text(value, "a share", "such as 0.1%")
    if not re.fullmatch(_SHARE, text):
        raise fault(f"not a share: {shown(text)}", "such as 0.1%, between 0% and 100%")
    share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    if share > 1:
        hint = "" if text.endswith("%") else f"write {text}% if you mean per cent"
        raise fault(f"a share cannot be more than 100 %: {shown(text)}", hint)
    return round(share, 12)


def _text(value: object, kind: str, example: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fault(f"expected {kind}, got {shown(value)}", example)
    return str(value).strip() if isinstance(value, str) else f"{value:.12g}"


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise fault("must be longer than 0s")
    return seconds


def _more_than_one(ratio: float) -> float:
    if ratio <= 1:
        raise fault(
            f"must be more than 1, and is {ratio:g}",
            'canary to baseline, higher is worse: "+25%" or 1.25',
        )
    return ratio


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_DURATION}$",
            "maxLength": _LONGEST,
            "examples": ["10s", "1h30m"],
        }
    ),
]
"""Seconds, zero allowed."""

PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
"""Seconds, more than none."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE}$", "examples": ["64MiB"]}),
]
"""Bytes, more than none."""

Increase = Annotated[
    float,
    BeforeValidator(parse_ratio),
    AfterValidator(_more_than_one),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": rf"^(?:\+{_NUMBER} ?%|{_NUMBER})$",
            "maxLength": _LONGEST,
            "examples": ["+25%", 1.25],
        }
    ),
]
"""A ratio of canary to baseline that is harmful: more than 1."""

Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema(
        {
            "type": ["string", "number"],
            "pattern": f"^{_SHARE}$",
            "maxLength": _LONGEST,
            "examples": ["0.1%", 0.001],
        }
    ),
]
"""A share of all events, 0 to 1."""
