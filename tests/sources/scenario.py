"""One story told to every source: what some pods exposed over seven minutes."""

import math
from collections.abc import Iterator, Mapping

from tests.servers.remote_write import STALE_MARKER, WrittenSeries
from tests.sources.reference import Observed

START = 1_700_000_000.0
STEP = 5.0
ROUNDS = 85

AWKWARD = (
    'quote"d',
    "back\\slash",
    "trailing\\",
    "line\nbreak",
    "a.b|c(d)[e]{2}*+?^$",
    "naïve ☃ 日本",
    " spaces, {braces} = # ",
    "%41+&?=/",
)
"""Label values that a careless writer of queries or parser of pages gets wrong."""

LABEL_SETS: dict[str, dict[str, str]] = {
    "steady/200": {"__name__": "requests_total", "pod": "steady", "code": "200"},
    "steady/500": {"__name__": "requests_total", "pod": "steady", "code": "500"},
    "resets": {"__name__": "requests_total", "pod": "resets", "code": "200"},
    "late": {"__name__": "requests_total", "pod": "late", "code": "200"},
    "ends": {"__name__": "requests_total", "pod": "ends", "code": "200"},
    "podless": {"__name__": "requests_total", "code": "200"},
    "gauge": {"__name__": "temperature", "pod": "steady"},
    **{
        f"bucket {bound}": {"__name__": "seconds_bucket", "pod": "steady", "le": bound}
        for bound in ("0.1", "0.5", "2.5", "+Inf")
    },
    **{
        f"awkward {number}": {"__name__": "awkward_total", "pod": value}
        for number, value in enumerate(AWKWARD)
    },
}

ENDS_AT, BACK_AT = 40, 60
"""The series ``ends`` is not exposed in these rounds: [ENDS_AT, BACK_AT)."""


def exposed(name: str, n: int) -> float | None:
    """Return the value of a series in the n-th round, None when it is not exposed."""
    match name.split():
        case ["steady/200"]:
            return 10.0 * n
        case ["steady/500"]:
            return float(n // 7)
        case ["resets"]:
            return 1000.0 + 3 * n if n < 20 else 3.0 * (n - 20)
        case ["late"]:
            return 100.0 + n if n >= 10 else None
        case ["ends"]:
            return None if ENDS_AT <= n < BACK_AT else 7.0 * n
        case ["gauge"]:
            return {3: math.nan, 4: math.inf, 5: -math.inf}.get(n, 20.5 + n / 8)
        case ["bucket", bound]:
            return float(n * min(10.0, 4 * float(bound)) // 1)
        case ["awkward", number]:
            return n + 100.0 * int(number)
        case _:
            return 0.25 * n


def time_of(n: int) -> float:
    return START + STEP * n


def observed(*, ends_are_seen: bool) -> list[Observed]:
    """Return the story for the reference; where ends are not seen, the last value lives on."""
    return [
        Observed(labels, list(_samples(name, ends_are_seen=ends_are_seen)))
        for name, labels in LABEL_SETS.items()
    ]


def written() -> list[WrittenSeries]:
    """Return the story for remote-write, ends as Prometheus' own markers."""
    return [
        WrittenSeries(
            series.labels,
            [(ms / 1000, STALE_MARKER if v is None else v) for ms, v in series.samples],
        )
        for series in observed(ends_are_seen=True)
    ]


def page(n: int) -> str:
    """Return what ``/metrics`` shows in the n-th round."""
    lines = ["# HELP requests_total Requests.", "# TYPE requests_total counter"]
    for name, labels in LABEL_SETS.items():
        value = exposed(name, n)
        if value is not None:
            lines.append(f"{series_text(labels)} {number(value)}")
    return "\n".join(lines) + "\n"


def recording() -> str:
    """Return the story as OpenMetrics with timestamps."""
    lines = [
        f"{series_text(series.labels)} {number(value)} {ms / 1000:.3f}"
        for series in observed(ends_are_seen=False)
        for ms, value in series.samples
        if value is not None
    ]
    return "\n".join([*lines, "# EOF", ""])


def series_text(labels: Mapping[str, str]) -> str:
    inner = ",".join(
        f'{name}="{_escaped(value)}"' for name, value in labels.items() if name != "__name__"
    )
    return f"{labels['__name__']}{{{inner}}}"


def number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return repr(value).replace("inf", "Inf")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _samples(name: str, *, ends_are_seen: bool) -> Iterator[tuple[int, float | None]]:
    before: float | None = None
    for n in range(ROUNDS):
        value = exposed(name, n)
        if value is not None or (before is not None and ends_are_seen):
            yield round(time_of(n) * 1000), value
        before = value
