"""The OTLP/HTTP receiver: ``POST /v1/traces``, protobuf or JSON, plain or gzip.

What it says to senders follows the OTLP specification: 200 with a partial success for spans that
cannot be used, 400 for what no retry will mend, 413 for too much at once, 429 and 503 with
``Retry-After`` while more comes than can be counted.
"""

import asyncio
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from rollbackd.traces.book import Busy, TraceBook
from rollbackd.traces.fates import Fate
from rollbackd.traces.otlp import Decoded, NotOtlp, decode, parse_json, parse_protobuf

log = structlog.get_logger()

PROTOBUF, JSON = "application/x-protobuf", "application/json"
MOST_AT_ONCE = 16
"""Requests in hand; more are told to come again. Each may hold a body and what becomes of it."""
READ_S = 10.0
"""A body must have arrived by then: a slow sender must not keep others out."""
RETRY_S = 2
_CHUNK = 1 << 16


class Refused(Exception):
    """A request that is not taken: HTTP status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True, slots=True)
class Door:
    """What the receiver may take.

    Attributes:
        book: where spans are written. max_body: bytes of a body, as it comes and unpacked.
        now: seconds since the epoch.
    """

    book: TraceBook
    max_body: int
    now: Callable[[], float] = time.time


def application(door: Door) -> Starlette:
    """Return the receiver as an ASGI application."""
    in_hand = 0

    async def traces(request: Request) -> Response:
        nonlocal in_hand
        media = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if in_hand >= MOST_AT_ONCE:
            return _refusal(Refused(503, "too many requests at once"), media)
        in_hand += 1
        try:
            body = await _body(request, media, door.max_body)
            taken = await run_in_threadpool(_take, door, body, media)
        except Refused as refused:
            return _refusal(refused, media)
        except ClientDisconnect:
            return Response(status_code=400)
        finally:
            in_hand -= 1
        return _answer(_success(taken), media)

    return Starlette(routes=[Route("/v1/traces", traces, methods=["POST"])])


async def _body(request: Request, media: str, most: int) -> bytes:
    if media not in {PROTOBUF, JSON}:
        raise Refused(415, f"the content type must be {PROTOBUF} or {JSON}")
    packing = request.headers.get("content-encoding", "identity").strip().lower()
    if packing not in {"identity", "gzip", ""}:
        raise Refused(415, "the content encoding must be gzip or none")
    chunks, size = [], 0
    try:
        async with asyncio.timeout(READ_S):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise Refused(
                        413, f"the body is longer than {most} bytes; send smaller batches"
                    )
                chunks.append(chunk)
    except TimeoutError as error:
        raise Refused(408, f"the body had not arrived after {READ_S:g} s") from error
    body = b"".join(chunks)
    return await run_in_threadpool(_unpacked, body, most) if packing == "gzip" else body


def _unpacked(body: bytes, most: int) -> bytes:
    """Unpack gzip, never into more than allowed."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise Refused(400, "the body is not gzip") from error
    if len(plain) > most:
        raise Refused(413, f"the body unpacks to more than {most} bytes; send smaller batches")
    if not unpacker.eof:
        raise Refused(400, "the gzip body is cut off")
    return plain


@dataclass(frozen=True, slots=True)
class _Taken:
    decoded: Decoded
    late: int


def _take(door: Door, body: bytes, media: str) -> _Taken:
    book = door.book
    try:
        request = parse_protobuf(body) if media == PROTOBUF else parse_json(body)
    except NotOtlp as error:
        raise Refused(400, str(error)) from error
    now, spans = door.now(), _count(request)
    if spans > book.max_spans:
        raise Refused(413, f"more than {book.max_spans} spans at once; send smaller batches")
    with book.lock:
        try:
            book.admit(spans)
        except Busy as error:
            raise Refused(429, f"more spans come than can be counted: {error}") from error
        raw = body if media == PROTOBUF else None
        decoded = decode(request, book.catalogue, raw, now)
        late = book.take(decoded.columns, now)
        book.fates[Fate.INVALID] += decoded.invalid
        book.fates[Fate.UNATTRIBUTED] += decoded.unattributed
        book.fates[Fate.CROWDED] += decoded.crowded
    return _Taken(decoded, late)


def _count(request: ExportTraceServiceRequest) -> int:
    return sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)


def _success(taken: _Taken) -> ExportTraceServiceResponse:
    """Return the answer, which names what could not be used: it would not help to send it again."""
    answer = ExportTraceServiceResponse()
    decoded = taken.decoded
    reasons = {
        decoded.why: decoded.invalid,
        "the resource has no attribute that names a process or version": decoded.unattributed,
        "there is no room for more processes or operations": decoded.crowded,
        "a span's end is minutes from now": taken.late,
    }
    rejected = {why: count for why, count in reasons.items() if count}
    if rejected:
        answer.partial_success.rejected_spans = sum(rejected.values())
        answer.partial_success.error_message = "; ".join(
            f"{count} spans not counted: {why}" for why, count in rejected.items()
        )
    return answer


def _refusal(refused: Refused, media: str) -> Response:
    answer = _answer(Status(message=refused.why), media, refused.status)
    if refused.status in {429, 503}:
        answer.headers["retry-after"] = str(RETRY_S)
    return answer


def _answer(message: Message, media: str, status: int = 200) -> Response:
    if media == JSON:
        return Response(MessageToJson(message), status, media_type=JSON)
    return Response(message.SerializeToString(), status, media_type=PROTOBUF)
