"""Numbers as people read them: shares, durations, ratios and e-values."""

import math

MOST = 1000.0
"""Ratios beyond this, or its inverse, bound nothing that anybody would act on."""

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float, digits: int = 2) -> str:
    """Return a number with so many significant digits and no exponent: 0.0123 -> "0.012"."""
    if not math.isfinite(value):
        return "∞" if value > 0 else "unknown"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def share(value: float) -> str:
    """Return a share in per cent: 0.041 -> "4.1 %"."""
    return "unknown" if math.isnan(value) else f"{significant(100 * value)} %"


def seconds(value: float) -> str:
    """Return a latency: 0.182 -> "182 ms"."""
    if math.isnan(value):
        return "unknown"
    return f"{significant(1000 * value)} ms" if value < 1 else f"{significant(value)} s"


def quantity(value: float, unit: str) -> str:
    """Return a value with its unit: "share", "s" or any other."""
    if unit == "share":
        return share(value)
    return seconds(value) if unit == "s" else f"{significant(value)} {unit}".rstrip()


def duration(value: float) -> str:
    """Return a span of time: 95 -> "1 min 35 s"."""
    whole = max(0, round(value))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def factor(value: float) -> str:
    """Return a ratio: 10.2 -> "×10", 1.18 -> "×1.2"; what is beyond reason is told as such."""
    if value > MOST:
        return f"over ×{MOST:.0f}"
    return f"×{significant(value)}" if value >= 1 / MOST or value == 0 else "under ×0.001"


def interval(low: float, high: float) -> str:
    """Return a confidence interval of a ratio, saying plainly when a side is open."""
    if low < 1 / MOST and high > MOST:
        return "[no bound yet]"
    if high > MOST:
        return f"[at least {factor(low)}]"
    if low < 1 / MOST:
        return f"[at most {factor(high)}]"
    return f"[{factor(low)}, {factor(high)}]"


def progress(value: float, limit: float) -> float:
    """Return how near evidence is to its limit on a log scale from 1: 0 to 1, where it decides."""
    if not value > 1 or not limit > 1:
        return 0.0
    return 1.0 if math.isinf(value) else min(1.0, math.log(value) / math.log(limit))


def e_value(value: float) -> str:
    """Return an e-value: 312000 -> "3·10⁵", 45.2 -> "45"."""
    if not math.isfinite(value) or value >= 1e300:
        return "over 10³⁰⁰"
    if value < 1000:
        return significant(value)
    exponent = math.floor(math.log10(value))
    mantissa = round(value / 10**exponent)
    if mantissa == 10:
        mantissa, exponent = 1, exponent + 1
    power = f"10{str(exponent).translate(_SUPERSCRIPT)}"
    return power if mantissa == 1 else f"{mantissa}·{power}"
