"""What traces cost: spans taken in by one core, memory under load, and operations judged in a tick.

``python -m benchmarks.traces`` sends prepared export requests through everything but the socket
(decoding, assembly, counting) for a while, and then lets watches with many operations be judged.
CPU time counts, not the clock on the wall: the machine may be busy with other things. All of it takes
some three minutes of CPU, most of them for making up 2,000 operations of 50 watches.
"""

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from benchmarks.trace_judging import judge, resident_mb
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Catalogue
from rollbackd.traces.fates import Fate
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
        loads.append(Load(spans, cost, resident_mb()))
    if book.fates[Fate.DUPLICATE] or book.fates[Fate.LATE]:
        raise SystemExit(f"spans were not counted: {dict(book.fates)}")
    return loads


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10.0, help="CPU time of the load")
    parser.add_argument("--operations", type=int, default=2000, help="of each watch")
    parser.add_argument("--watches", type=int, default=50)
    parser.add_argument("--pods", type=int, default=2, help="of each side of a watch")
    args = parser.parse_args()
    loads = take_in(args.seconds)
    spans, cpu = sum(load.spans for load in loads), sum(load.cpu_s for load in loads)
    best = max(load.spans / load.cpu_s for load in loads)
    early, late = loads[min(3, len(loads) - 1)].resident_mb, loads[-1].resident_mb
    print(f"taken in: {spans:,} spans in {cpu:.1f} s of CPU, {len(loads)} generations")
    print(f"  {spans / cpu:,.0f} spans/s a core, best generation {best:,.0f} (goal {GOAL:,.0f})")
    print(f"  resident memory {early:.0f} MB after warming up, {late:.0f} MB at the end")
    judged = judge(args.operations, args.watches, pods=args.pods)
    each, watch = judged.tick_s / judged.rows * 1e6, judged.tick_s / args.watches * 1e3
    before, after = judged.resident_mb
    print(f"judged: {args.operations} operations x {args.watches} watches, {judged.rows:,} in all")
    print(
        f"  {judged.tick_s:.2f} s of CPU a tick, {watch:.0f} ms a watch, {each:.0f} µs an operation"
    )
    print(f"  ticks: {', '.join(f'{tick:.2f}' for tick in judged.ticks)} s")
    print(f"  {judged.changed_s:.1f} s of CPU in the tick after an instance left")
    print(
        f"  memory {before:.0f} MB before these ticks, {after:.0f} MB after, {judged.peak_mb:.0f} MB peak"
    )


if __name__ == "__main__":
    main()
