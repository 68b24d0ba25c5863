"""The text a ``/metrics`` page is written in: Prometheus text format and OpenMetrics."""

import re
from dataclasses import dataclass
from enum import Enum

from prometheus_client.parser import text_string_to_metric_families

from analyzer.sample import Absence
from rollbackd.sources.http_reply import Trouble, shortened
from rollbackd.sources.series_store import NAME

ACCEPT = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
"""What we ask for, in Prometheus' own order of preference."""


class TextFormat(Enum):
    """The two text formats; the value is the unit of explicit timestamps in milliseconds."""

    PROMETHEUS = 1
    OPENMETRICS = 1000


@dataclass(frozen=True, slots=True)
class Exposition:
    """The samples of one page, as columns.

    Attributes:
        series: name and labels of each sample, as they are written; see ``labels_of``.
        values: the values. times_ms: explicit timestamps, None where the page gives none.
    """

    series: list[str]
    values: list[float]
    times_ms: list[int | None]


_LINE = re.compile(
    r"""
    [ \t]*+
    (?P<series> [^\s{\#"]*+ (?: [ \t]*+ \{ (?: [^"}]++ | "(?:[^"\\]++|\\.)*+" )*+ \} )?+ )
    [ \t]*+ (?P<value> [^\s{}"\#]++ )
    (?: [ \t]++ (?P<time> [^\s{}"\#]++ ) )?+
    [ \t]*+ (?: \# [ ] .* )?+                       # an exemplar, which is not used
    """,
    re.VERBOSE,
)


def format_of(content_type: str) -> TextFormat:
    """Return the format a reply is in; what is not OpenMetrics is read as Prometheus text."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == "application/openmetrics-text":
        return TextFormat.OPENMETRICS
    return TextFormat.PROMETHEUS


def parse(text: str, text_format: TextFormat) -> Exposition:
    """Split a page into samples.

    Only lines are split here, with one regular expression each. Names and labels are parsed by
    ``prometheus_client`` (``labels_of``), once for each series and not once for each sample: its
    parsers take 40 µs a line, and the lines of a page are the same at every scrape. Its handling of
    whole pages is left out also because it renames counters that do not end in ``_total``.

    Raises:
        Trouble: ``INVALID`` at the first line that is no sample, or when the end is missing.
    """
    series: list[str] = []
    values: list[float] = []
    times_ms: list[int | None] = []
    match_line = _LINE.fullmatch
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip("\r")
        if not line or line[0] == "#" or line.isspace():
            continue
        parts = match_line(line)
        if parts is None or not parts["series"]:
            raise Trouble(Absence.INVALID, f"line {number} is no sample: {shortened(line)!r}")
        name, value, time = parts.group("series", "value", "time")
        try:
            values.append(_number(value))
            times_ms.append(None if time is None else round(_number(time) * text_format.value))
        except (ValueError, OverflowError) as error:
            raise Trouble(
                Absence.INVALID, f"line {number} has no valid number: {shortened(line)!r}"
            ) from error
        series.append(name)
    if text_format is TextFormat.OPENMETRICS and not text.rstrip().endswith("# EOF"):
        raise Trouble(Absence.INVALID, "the page was cut off: OpenMetrics must end with '# EOF'")
    return Exposition(series, values, times_ms)


def labels_of(series: str) -> dict[str, str]:
    """Return the labels of a series as it is written on a page, its name as ``__name__``.

    Raises:
        Trouble: ``INVALID``, it cannot be parsed.
    """
    try:
        # without a TYPE line the family is "untyped" and the parser leaves the name alone
        (family,) = text_string_to_metric_families(f"{series} 0")
        (sample,) = family.samples
    except (ValueError, IndexError) as error:
        raise Trouble(
            Absence.INVALID, f"no valid name and labels: {shortened(series)!r}"
        ) from error
    return {NAME: sample.name, **sample.labels}


def _number(text: str) -> float:
    """Return a value; Python's ``1_000`` is no number of the formats."""
    if "_" in text:
        raise ValueError(text)
    return float(text)
