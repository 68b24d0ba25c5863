"""What traces cost: spans taken in by one core, memory under load, and operations judged in a tick.

``python -m benchmarks.traces`` sends prepared export requests through everything but the socket
(decoding, assembly, counting) for a while, and then lets watches with many operations be judged.
CPU time counts, not the clock on the wall: the machine may be busy with other things.
"""

import argparse
import random
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from analyzer.comparison import Comparison
from analyzer.policy import Policy
from analyzer.rollout import Side
from analyzer.roster import Roster, Stay
from analyzer.signal import TraceSignal
from rollbackd.collect import Collector
from rollbackd.telemetry import Telemetry
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Bounds, Catalogue
from rollbackd.traces.counters import TraceCounters
from rollbackd.traces.desk import TraceDesk
from rollbackd.traces.fates import Fate
from rollbackd.traces.measures import COUNTERS, DURATIONS, SELF_TIMES
from rollbackd.traces.otlp import decode, parse_protobuf

SPANS_A_TRACE = 8
TRACES_A_REQUEST = 64
"""512 spans, the default batch of OpenTelemetry's SDKs."""
PODS = 8
ATTRIBUTES = 7
FAILING = 0.005
REQUESTS = 400
"""Prepared; sent again and again with new trace ids, so that nothing is a duplicate."""
GENERATION_S = 5.0
GOAL = 150_000.0


def prepared(dice: random.Random, now: float) -> list[bytearray]:
    """Return export requests as a collector would send them, one pod each."""
    return [bytearray(_request(dice, f"pod-{i % PODS}", now)) for i in range(REQUESTS)]


def _request(dice: random.Random, pod: str, now: float) -> bytes:
    made = ExportTraceServiceRequest()
    one = made.resource_spans.add()
    for key, value in (("service.name", "shop"), ("k8s.pod.name", pod)):
        pair = one.resource.attributes.add(key=key)
        pair.value.string_value = value
    scope = one.scope_spans.add()
    begin = round(now * 1e9)
    for _ in range(TRACES_A_REQUEST):
        trace, root = dice.randbytes(16), dice.randbytes(8)
        failed = dice.random() < FAILING * SPANS_A_TRACE
        for i in range(SPANS_A_TRACE):
            server = i == 0
            span = scope.spans.add(
                trace_id=trace,
                span_id=root if server else dice.randbytes(8),
                parent_span_id=b"" if server else root,
                name=f"GET /page{dice.randrange(20)}/{{id}}" if server else f"SELECT t{i}",
                kind=Span.SPAN_KIND_SERVER if server else Span.SPAN_KIND_CLIENT,
                start_time_unix_nano=begin + i * 1_000_000,
                end_time_unix_nano=begin + (90_000_000 if server else i * 1_000_000 + 900_000),
            )
            for k in range(ATTRIBUTES - 1):
                span.attributes.add(key=f"http.attribute.{k}").value.string_value = f"value {k}"
            status = span.attributes.add(key="http.response.status_code")
            status.value.int_value = 503 if failed and server else 200
            if failed and server:
                span.status.code = 2
    body: bytes = made.SerializeToString()
    return body


def renewed(bodies: list[bytearray], dice: random.Random) -> Iterator[bytes]:
    """Yield the bodies with other trace ids: the bytes are changed where they stand."""
    for body in bodies:
        old = ExportTraceServiceRequest.FromString(bytes(body))
        ids = {span.trace_id for span in old.resource_spans[0].scope_spans[0].spans}
        fresh = bytes(body)
        for trace in ids:
            fresh = fresh.replace(trace, dice.randbytes(16))
        yield fresh


@dataclass(frozen=True)
class Load:
    """What one round of load cost."""

    spans: int
    cpu_s: float
    resident_mb: float


def take_in(seconds: float) -> list[Load]:
    """Send generation after generation for so much CPU time."""
    dice = random.Random(1)
    now = 1_800_000_000.0
    book = TraceBook(Catalogue(), generation_s=GENERATION_S)
    bodies = prepared(dice, now)
    loads: list[Load] = []
    spent, turns = 0.0, 0
    while spent < seconds:
        generation = list(renewed(bodies, dice))
        before = time.process_time()
        spans = 0
        for body in generation:
            decoded = decode(parse_protobuf(body), book.catalogue, body, now)
            book.take(decoded.columns, now)
            spans += len(decoded.columns)
        book.turn(now + GENERATION_S * turns)
        cost = time.process_time() - before
        turns += 1
        spent += cost
        loads.append(Load(spans, cost, _resident_mb()))
    if book.fates[Fate.DUPLICATE] or book.fates[Fate.LATE]:
        raise SystemExit(f"spans were not counted: {dict(book.fates)}")
    return loads


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  no path, a kernel file
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


@dataclass(frozen=True)
class Judged:
    """What judging cost: rows, until when all comparisons had begun, CPU time of a tick."""

    rows: int
    begun_s: float
    tick_s: float


def judge(operations: int, watches: int, pods: int = 2, ticks: int = 5) -> Judged:
    """Let watches with so many operations each be judged; only the judging is counted."""
    tick_s, now = 10.0, 1_800_000_000.0
    catalogue = Catalogue(bounds=Bounds(100_000, operations, 10_000_000, 1))
    book = TraceBook(catalogue, retention_s=600.0)
    signal = TraceSignal("traces", operations=operations, min_spans=1)
    policy = Policy("many", (signal,), history_s=tick_s * 3)
    comparison = Comparison(tick_s)
    counters = TraceCounters(book)
    desk = TraceDesk(counters)
    collector = Collector(counters, tick_s, 0.0, Telemetry(version="benchmark", environ={}))
    rows = []
    for watch in range(watches):
        stays = []
        for side in Side:
            for pod in range(pods):
                name = f"{watch}-{side}-{pod}"
                who = {"service.name": "shop", "k8s.pod.name": name}
                instance = catalogue.instance(who)
                if instance is None:
                    raise SystemExit("no instance")
                instance.first, instance.seen = now, now + 1e6
                numbers = range(operations)
                rows += [
                    catalogue.row(instance, f"op-{_word(i)}", 2, templated=True) for i in numbers
                ]
                stays.append(Stay((name,), side, 0.0))
        comparison.join(str(watch), policy, ("pod",))
        comparison.enrol(str(watch), Roster(tuple(stays)))
    generator = np.random.default_rng(1)
    costs: list[float] = []
    begun: float | None = None
    while begun is None or len(costs) < ticks:
        now += tick_s
        _add(book, np.array(rows), generator, now)
        before = time.process_time()
        desk.tend(comparison.traces)
        if collector.collect(comparison.families, now):
            raise SystemExit("a family broke")
        comparison.evidence()
        cost = time.process_time() - before
        if begun is not None:
            costs.append(cost)
        elif comparison.families and all(
            member.armed for family in comparison.families for member in family.members
        ):
            begun = now - 1_800_000_000.0
    return Judged(operations * watches, begun, sorted(costs)[len(costs) // 2])


def _word(number: int) -> str:
    """Return a name without digits, which would be taken for a value."""
    letters = ""
    while True:
        letters += chr(97 + number % 26)
        number //= 26
        if not number:
            return letters


def _add(book: TraceBook, rows: NDArray[np.int64], dice: np.random.Generator, now: float) -> None:
    """Add some spans of middling length to every row, as the assembly would."""
    spans = dice.poisson(20, len(rows)).astype(np.float64)
    calls = dice.poisson(spans).astype(np.float64)
    columns = {
        0: spans,
        1: dice.binomial(spans.astype(int), 0.01).astype(np.float64),
        2: spans,
        3: calls,
        5: spans + calls,
    }
    for part in (DURATIONS, SELF_TIMES):
        low = dice.binomial(spans.astype(int), 0.5).astype(np.float64)
        columns[part.start + 10] = low
        columns[part.start + 11] = spans - low
    place = np.concatenate([rows * COUNTERS + column for column in columns])
    amount = np.concatenate(list(columns.values()))
    order = np.argsort(place)
    with book.lock:
        for row in rows.tolist():
            book.rows.begin(row, now)
        book.rows.add(now, place[order], amount[order])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU time of the load")
    parser.add_argument("--operations", type=int, default=50, help="of each watch")
    parser.add_argument("--watches", type=int, default=50)
    args = parser.parse_args()
    loads = take_in(args.seconds)
    spans, cpu = sum(load.spans for load in loads), sum(load.cpu_s for load in loads)
    best = max(load.spans / load.cpu_s for load in loads)
    early, late = loads[min(3, len(loads) - 1)].resident_mb, loads[-1].resident_mb
    print(f"taken in: {spans:,} spans in {cpu:.1f} s of CPU, {len(loads)} generations")
    print(f"  {spans / cpu:,.0f} spans/s a core, best generation {best:,.0f} (goal {GOAL:,.0f})")
    print(f"  resident memory {early:.0f} MB after warming up, {late:.0f} MB at the end")
    judged = judge(args.operations, args.watches)
    each = judged.tick_s / judged.rows * 1e6
    print(f"judged: {args.operations} operations x {args.watches} watches, {judged.rows:,} rows")
    print(f"  {judged.tick_s:.2f} s of CPU a tick ({each:.0f} µs a row)")
    print(f"  all comparisons had begun after {judged.begun_s:.0f} s of 10 s ticks")


if __name__ == "__main__":
    main()
