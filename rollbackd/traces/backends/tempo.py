"""Grafana Tempo: exact counts by TraceQL metrics, examples by search.

Tempo tells how many spans of each duration there were, by instance and operation; it does not tell
self times and calls. Searches return the first traces found, not a random sample, so they serve
for examples only.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from analyzer.sample import Absence
from rollbackd.sources.http_reply import Trouble, shortened
from rollbackd.traces.backends.polling import Pace, Stretch, Stretches
from rollbackd.traces.backends.server import Backend, NotThere
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import SERVICE_KEY, CatalogueFull
from rollbackd.traces.examples import Example
from rollbackd.traces.fates import Fate
from rollbackd.traces.ledger import Floats
from rollbackd.traces.measures import COUNTERS, DURATIONS, FAILED, INNER_BOUNDS, SPANS, TIME
from rollbackd.traces.semantics import KINDS

PACE = Pace(step_s=15.0, settle_s=45.0, longest_s=300.0)
"""The newest half minute may be hidden, and the newest incomplete step is."""
BUCKET = "__bucket"
EXAMPLES = 3
_LOCAL_BLOCKS = (
    "add local-blocks to the metrics generator's processors, without filter_server_spans"
)
ADVICE = {
    "localblocks processor not found": _LOCAL_BLOCKS,
    "empty ring": _LOCAL_BLOCKS,
    "no org id": "name the tenant under headers: {X-Scope-OrgID: ...}",
}
"""What to do when Tempo says this."""
_TRACE_DIGITS = 32

Row = tuple[tuple[str, ...], str, str]
"""Values of the instance's attributes, span name, kind."""
Series = list[tuple[dict[str, str], float]]
"""Of an instant query: labels and value."""


class TempoPoller:
    """Asks Tempo for what every stretch of time counted, and writes it into the book.

    Args:
        backend: the server. book: where counts go.
        services: names of the services to ask about.
        by: resource attributes that identify an instance, at most two: Tempo groups by five.
        pace: how often, and how far behind.
    """

    def __init__(
        self,
        backend: Backend,
        book: TraceBook,
        services: Sequence[str],
        by: Sequence[str],
        pace: Pace = PACE,
    ) -> None:
        self._backend = backend
        self._book = book
        self._services = tuple(services)
        self._by = tuple(by)
        self._stretches = {s: Stretches(pace, book, f"Tempo ({s})") for s in services}
        self._by_kind: set[str] = set()
        """Services that have too many series for one answer."""

    def poll(self, now: float, *, past: bool = False) -> None:
        """Bring the book up to date, service by service; trouble with one is not the others'."""
        for service, stretches in self._stretches.items():
            for stretch in stretches.due(now):
                try:
                    sums = self._take(service, stretch, stretches, now)
                except NotThere as error:
                    what = f"{error}: is this a Tempo, 2.6 or newer?"
                    stretches.failed(Trouble(Absence.INVALID, what), now)
                    break
                except Trouble as trouble:
                    stretches.failed(advised(trouble), now)
                    break
                stretches.done(stretch[1])
                if not past:
                    self._find_examples(service, sums, stretch, now)

    def close(self) -> None:
        """Release connections."""
        self._backend.close()

    def _take(
        self, service: str, stretch: Stretch, stretches: Stretches, now: float
    ) -> dict[Row, Floats]:
        """Count a stretch: all of it, or nothing where Tempo does not tell all of it.

        Answers are cut at a number of series, in alphabetical order: what is left of one could be the
        errors of a pod without its successes. Questions about fewer spans have fewer series.
        """
        try:
            sums = self._told(service, stretch)
        except _Partial as partial:
            lost = f"{stretch[1] - stretch[0]:.0f} s"
            what = f"partial: {lost} and more of Tempo's answers not counted: {partial}"
            stretches.caution(what, now)
            return {}
        self._write(service, sums, now)
        return sums

    def _told(self, service: str, stretch: Stretch) -> dict[Row, Floats]:
        """Return what was counted, kind by kind where all kinds at once are too many.

        Both questions are asked before anything is written. Raises Trouble or _Partial.
        """
        if service not in self._by_kind:
            try:
                return self._counted(service, "", stretch)
            except _Partial:
                self._by_kind.add(service)
        kinds = [*dict.fromkeys(KINDS), "unspecified"]
        every = [self._counted(service, f" && kind={kind}", stretch) for kind in kinds]
        return {row: amounts for sums in every for row, amounts in sums.items()}

    def _counted(self, service: str, only: str, stretch: Stretch) -> dict[Row, Floats]:
        where = f"{{resource.{SERVICE_KEY}={_quoted(service)}{only}}}"
        groups = [f"resource.{attribute}" for attribute in self._by] + ["name", "kind"]
        by = ", ".join(groups)
        counted = self._metrics(f"{where} | count_over_time() by ({by}, status)", stretch)
        spread = self._metrics(f"{where} | histogram_over_time(duration) by ({by})", stretch)
        sums: dict[Row, Floats] = {}
        for labels, count in counted:
            row = sums.setdefault(self._row(labels), np.zeros(COUNTERS))
            row[SPANS] += count
            row[FAILED] += count * (labels.get("status") == "error")
        sums = {row: amounts for row, amounts in sums.items() if amounts[SPANS]}
        for labels, count in spread:
            bound = _number(labels.get(BUCKET))
            row = sums.setdefault(self._row(labels), np.zeros(COUNTERS))
            if bound is not None:
                place = int(np.searchsorted(INNER_BOUNDS, bound, side="left"))
                row[DURATIONS.start + place] += count
                row[TIME] += bound * count
        return sums

    def _row(self, labels: Mapping[str, str]) -> Row:
        values = tuple(labels.get(f"resource.{name}", labels.get(name, "")) for name in self._by)
        return values, labels.get("name", ""), labels.get("kind", "")

    def _write(self, service: str, sums: Mapping[Row, Floats], now: float) -> None:
        with self._book.lock:
            for (values, name, kind), amounts in sums.items():
                row = self._number(service, (values, name, kind), now)
                if row is None:
                    self._book.fates[Fate.CROWDED] += int(amounts[SPANS])
                else:
                    self._book.add(row, amounts, now)

    def _number(self, service: str, row: Row, now: float) -> int | None:
        """Return the row of the catalogue, or None when there is no room or no instance."""
        values, name, kind = row
        attributes = {SERVICE_KEY: service, **dict(zip(self._by, values, strict=True))}
        catalogue = self._book.catalogue
        try:
            instance = catalogue.instance(attributes)
            if instance is None:
                return None
            instance.seen = now
            return catalogue.row(instance, name, KINDS.index(kind) if kind in KINDS else 0)
        except CatalogueFull:
            return None

    def _find_examples(
        self, service: str, sums: Mapping[Row, Floats], stretch: Stretch, now: float
    ) -> None:
        """Look for traces of failed operations; those without any are shown by the slowest bucket."""
        failing = sorted(
            (row for row in sums if sums[row][FAILED]), key=lambda r: -sums[r][FAILED]
        )
        usual = sorted((row for row in sums if sums[row][SPANS]), key=lambda r: -sums[r][SPANS])
        asked = [(row, True) for row in failing[:EXAMPLES]] + [
            (r, False) for r in usual[:EXAMPLES]
        ]
        for row, failed in asked:
            number = self._number(service, row, now)
            if number is None:
                continue
            try:
                found = list(self._search(service, row, stretch, failed=failed))
            except (Trouble, NotThere):
                return  # examples are a courtesy; the counts are in already
            with self._book.lock:
                for trace_id, seconds in found:
                    self._book.examples.add(number, Example(now, trace_id, seconds, failed))

    def _search(
        self, service: str, row: Row, stretch: Stretch, *, failed: bool
    ) -> Iterator[tuple[str, float]]:
        values, name, _ = row
        parts = [f"resource.{SERVICE_KEY}={_quoted(service)}", f"name={_quoted(name)}"]
        pairs = zip(self._by, values, strict=True)
        parts += [f"resource.{key}={_quoted(value)}" for key, value in pairs if value]
        parts += ["status=error"] if failed else []
        query: dict[str, str | int] = {
            "q": f"{{{' && '.join(parts)}}}",
            "limit": EXAMPLES,
            "start": int(stretch[0]),
            "end": int(stretch[1]),
        }
        answer = self._backend.document("/api/search", query)
        traces = answer.get("traces") if isinstance(answer, dict) else None
        for trace in traces if isinstance(traces, list) else []:
            if isinstance(trace, dict) and isinstance(trace.get("traceID"), str):
                # Tempo leaves leading zeros out
                trace_id = trace["traceID"].zfill(_TRACE_DIGITS)[:_TRACE_DIGITS]
                yield trace_id, (_number(trace.get("durationMs")) or 0.0) / 1000.0

    def _metrics(self, query: str, stretch: Stretch) -> Series:
        asked: dict[str, str | int] = {
            "q": query,
            "start": int(stretch[0]),
            "end": int(stretch[1]),
        }
        return _answer(self._backend.document("/api/metrics/query", asked))


def advised(trouble: Trouble) -> Trouble:
    """Return a trouble with what to do about it, where Tempo's own words do not say."""
    advice = [text for said, text in ADVICE.items() if said in trouble.detail]
    if not advice:
        return trouble
    return Trouble(trouble.reason, f"{trouble.detail}; {advice[0]}")


class _Partial(Exception):
    """Tempo says that its answer is not complete; in its own words."""


def _answer(document: object) -> Series:
    """Read an answer. Raises Trouble when it is none, _Partial when it is not complete."""
    if not isinstance(document, dict):
        raise Trouble(Absence.INVALID, "the answer is JSON, but not that of a metrics query")
    found = document.get("series") or []
    if not isinstance(found, list):
        raise Trouble(Absence.INVALID, "the answer has no list of series")
    series = []
    for one in found:
        if not isinstance(one, dict):
            raise Trouble(Absence.INVALID, "a series of the answer is no object")
        count = _number(one.get("value", 0))  # protobuf's JSON leaves zeros out
        if count is None or count < 0:
            raise Trouble(Absence.INVALID, f"a count of the answer is {one.get('value')!r}")
        labels = one.get("labels")
        pairs = (p for p in (labels if isinstance(labels, list) else []) if isinstance(p, dict))
        series.append(({str(p.get("key")): _text(p.get("value")) for p in pairs}, count))
    if document.get("status") in {"PARTIAL", 1}:
        raise _Partial(shortened(str(document.get("message") or "it did not say why")))
    return series


def _text(value: object) -> str:
    """Return a label's value; {"stringValue": "x"} in newer versions, "x" in older ones."""
    if isinstance(value, dict):
        value = next(iter(value.values()), "")
    text = "" if value is None else str(value)
    return "" if text in {"nil", "<nil>"} else text


def _number(value: object) -> float | None:
    """Return a finite number, which protobuf's JSON may write as text, or None."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
