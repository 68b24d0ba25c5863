"""Evidence, shares and times as people read them in a terminal."""

import math
from datetime import UTC, datetime

from analyzer.wording import progress

VERDICT_STYLE = {
    "healthy": "green",
    "degraded": "bold red",
    "shared incident": "magenta",
    "inconclusive": "yellow",
}

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALL, _WHOLE_FROM, _PLAIN_BELOW = 0.01, 100.0, 10_000.0
"""E-values are shown as 0 below the first, without decimals from the second on, and from the third
on with a power of ten."""


def e_value(value: float) -> str:
    """Return an e-value: ``3.2``, ``440``, ``3·10⁵``."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "unknown"
    if value < _SMALL:
        return "0"
    if value < _PLAIN_BELOW:
        return f"{value:.3g}" if value < _WHOLE_FROM else f"{value:.0f}"
    digit, _, exponent = f"{value:.0e}".partition("e")
    return f"{digit}·10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def bar(value: float, limit: float, width: int = 10) -> str:
    """Return how near the evidence is to its limit, on a log scale from 1; full = it decides."""
    reached = progress(value, limit)
    filled = width if reached >= 1 else math.floor(reached * width)
    return "█" * filled + "░" * (width - filled)


def amount(value: float | None, unit: str) -> str:
    """Return a measured value: a share in per cent, a time in ms or s, else with its unit."""
    if value is None or math.isnan(value):
        return "–"
    if unit in {"", "1", "share", "ratio"}:
        return f"{value:.3g}" if abs(value) > 1 else f"{100 * value:.3g} %"
    if unit == "s":
        return f"{1000 * value:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    return f"{value:.3g} {unit}"


def age(seconds: float) -> str:
    """Return an age in its two largest units: ``45s``, ``4m10s``, ``3h5m``, ``2d4h``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (parts and len(parts) < 2):  # noqa: PLR2004 - two units
            parts.append(f"{count}{unit}")
    kept = [part for part in parts[:2] if not part.startswith("0")]
    return "".join(kept) or "0s"


def clock(at: float) -> str:
    """Return a time of day in this machine's time zone."""
    return f"{datetime.fromtimestamp(at, tz=UTC).astimezone():%H:%M:%S}"


def day_and_clock(at: float) -> str:
    """Return date and time with the zone's offset, in this machine's time zone."""
    return f"{datetime.fromtimestamp(at, tz=UTC).astimezone():%Y-%m-%d %H:%M:%S %z}"
