"""Label matchers as Prometheus understands them, compiled for Python."""

import re
import warnings
from collections.abc import Callable
from functools import lru_cache

from analyzer.signal import Matcher

_SPECIAL = frozenset(r"\.+*?()|[]{}^$")

_TOKEN = re.compile(
    r"""
      (?P<refused> \(\?(?:<?[=!]|P=|>|\(|\#)        # look-around, references, atomic, comment
                 | (?:[*+?]|\{\d+(?:,\d*)?\})\+     # possessive repetition
                 | \\[1-9ZpPQEuUNC] )               # references, and what only one side knows
    | (?P<end> \\z | \$ )
    | \\.
    | (?P<class> \[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\] )
    | (?P<unclosed> \[ )
    """,
    re.VERBOSE | re.DOTALL,
)

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "lower": "a-z",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": r"0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


def quoted(value: str) -> str:
    """Return a pattern that matches exactly this value (RE2's ``QuoteMeta``)."""
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in value)


@lru_cache(maxsize=1024)
def predicate(matcher: Matcher) -> Callable[[str], bool]:
    """Return the test of a label's value; a label that is absent has the value ``""``.

    Raises:
        ValueError: a pattern that RE2 refuses, or that only RE2 understands.
    """
    wanted = matcher.value
    match matcher.op:
        case "=":
            return lambda value: value == wanted
        case "!=":
            return lambda value: value != wanted
        case "=~":
            pattern = compiled(wanted)
            return lambda value: pattern.fullmatch(value) is not None
        case _:
            pattern = compiled(wanted)
            return lambda value: pattern.fullmatch(value) is None


def compiled(pattern: str) -> re.Pattern[str]:
    r"""Compile an RE2 pattern; use it with ``fullmatch``, as Prometheus anchors.

    Python's own extras are refused (look-around, back references, possessive and atomic parts), so
    that a selector tried here works in Prometheus too; ``\d``, ``\w``, ``\s`` are ASCII as in RE2.
    Not supported: ``\p{…}``, ``\Q…\E``, flags elsewhere than at the beginning.

    Raises:
        ValueError: with the pattern and what is wrong with it.
    """
    try:
        with warnings.catch_warnings():
            # "--" in a class may one day be an operation on sets; it is read as in RE2 until then
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(_TOKEN.sub(_translated, pattern), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"the pattern {pattern!r} is not understood: {error}") from error


def _translated(token: re.Match[str]) -> str:
    """Return one token in Python's dialect."""
    text = token.group()
    if token["refused"] is not None:
        raise ValueError(
            f"the pattern {token.string!r} has {text!r}, which is not supported: patterns are RE2, "
            r"without look-around, references, possessive parts, \p and \Q"
        )
    if token["unclosed"] is not None:
        raise ValueError(f"the pattern {token.string!r} has a class that is not closed")
    if token["end"] is not None:
        # RE2's $ is the very end; Python's would also match before a last newline
        return r"\Z"
    if token["class"] is not None:
        return _class(text)
    return text


def _class(text: str) -> str:
    """Return a bracketed class in Python's dialect, with POSIX classes spelled out."""

    def inner(part: re.Match[str]) -> str:
        name = part["posix"]
        if name is None:
            # Python warns of these: it may once read them as operations on sets
            return f"\\{part.group()}" if part.group() in {"[", "&", "~", "|"} else part.group()
        if name not in _POSIX:
            raise ValueError(f"[:{name}:] is not a class that is supported here")
        return _POSIX[name]

    head = re.match(r"\[\^?\]?", text)
    start = head.end() if head else 1
    body = re.sub(r"\[:(?P<posix>\^?\w+):\]|\\.|.", inner, text[start:-1], flags=re.DOTALL)
    return text[: start - 1] + text[start - 1].replace("]", r"\]") + body + "]"
