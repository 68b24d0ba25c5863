"""The HTTP side: one handler that authenticates, injects faults, dispatches, answers and logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.kube_api.faults import FaultAction, refusal
from tests.fakes.kube_api.objects.errors import ApiError

from .control import control_routes
from .discovery import discovery_document
from .request_info import asks_for_resource, parse_request
from .resources import carry_out, parse_call, watch_request
from .watches import WatchDropped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.kube_api.cluster import Cluster
    from tests.fakes.kube_api.faults import Fault
    from tests.fakes.kube_api.objects.metadata import JsonObject
    from tests.fakes.kube_api.request_log import LoggedRequest

    from .request_info import RequestInfo
    from .resources import Call

_log = logging.getLogger(__name__)

LARGEST_BODY = 3 * 1024 * 1024  # bytes, as in the real server
SHUTDOWN_SECONDS = 2.0  # for requests which still run when the server stops
LOOPBACK = "127.0.0.1"

CLUSTER: web.AppKey[Cluster] = web.AppKey("cluster")


@contextlib.asynccontextmanager
async def serving(cluster: Cluster, port: int) -> AsyncIterator[str]:
    """Serve a cluster on loopback while the context is open; gives the URL.

    Args:
        cluster: what to serve; its controllers are started and stopped here.
        port: where; 0 takes a free one.
    """
    app = web.Application(client_max_size=LARGEST_BODY)
    app[CLUSTER] = cluster
    app.add_routes(control_routes(cluster))
    app.router.add_route("*", "/{path:.*}", _handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, port)
        await site.start()
        await cluster.start()
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await cluster.stop()
        await runner.cleanup()


async def _handle(request: web.Request) -> web.StreamResponse:
    cluster = request.app[CLUSTER]
    query = {key: request.query.getall(key)[-1] for key in request.query}
    entry = cluster.requests.begin(cluster.clock.now(), request.method, request.path, query)
    try:
        response = await _answer(cluster, request, entry)
    except ApiError as error:
        response = _json(error.code, error.status())
        retry_after = (error.details or {}).get("retryAfterSeconds")
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
    except web.HTTPRequestEntityTooLarge:
        refused = ApiError(413, "RequestEntityTooLarge", "the request is too large")
        response = _json(413, refused.status())
    except (ConnectionError, asyncio.CancelledError):
        raise
    except Exception as error:  # noqa: BLE001  a bug ends one request, not the server
        # A bug of the fake: the client gets a 500, the test gets the error.
        _log.exception("the fake API server failed on %s %s", request.method, request.path)
        cluster.control_loop.note_error(error)
        response = _json(500, ApiError(500, "InternalError", repr(error)).status())
    was_broken_off = request.transport is None or request.transport.is_closing()
    if entry.status is None and not was_broken_off:
        entry.status = response.status
    return response


async def _answer(
    cluster: Cluster, request: web.Request, entry: LoggedRequest
) -> web.StreamResponse:
    raw = await request.read()
    with contextlib.suppress(ValueError):
        entry.body = json.loads(raw) if raw else None
    info: RequestInfo | ApiError | None = None
    if asks_for_resource(request.path):
        try:
            info = parse_request(cluster.kinds, request.method, request.path, entry.query)
            entry.verb = info.verb
        except ApiError as error:
            info = error
    latency, fault = cluster.faults.striking(entry.verb, request.method, request.path)
    if latency:
        await asyncio.sleep(latency)
    if fault is not None:
        entry.fault = fault.action.value
        if fault.action is FaultAction.DROP_BEFORE:
            return _dropped(request)
        refused = refusal(fault)
        if refused is not None:
            raise refused
    cluster.access.authenticate(request.headers.get("Authorization"))
    if isinstance(info, ApiError):
        raise info
    if info is None:
        return await _faulty(request, _document(cluster, request), fault)
    cluster.access.authorize(info)
    headers = {key.lower(): value for key, value in request.headers.items()}
    call = parse_call(info, raw, headers)
    if info.verb == "watch":
        return await _watch(cluster, request, call, entry, fault)
    try:
        response = _json(*carry_out(cluster, call))
    except ApiError as error:
        if fault is None:
            raise
        response = _json(error.code, error.status())
    return await _faulty(request, response, fault)


def _document(cluster: Cluster, request: web.Request) -> web.Response:
    if request.method != "GET":
        raise ApiError(405, "MethodNotAllowed", "only GET is allowed here")
    document = discovery_document(cluster.kinds, request.path)
    if isinstance(document, str):
        return web.Response(text=document)
    return _json(200, document)


async def _watch(
    cluster: Cluster,
    request: web.Request,
    call: Call,
    entry: LoggedRequest,
    fault: Fault | None,
) -> web.StreamResponse:
    wanted = watch_request(cluster, call)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    entry.status = 200

    async def send(line: bytes) -> None:
        if fault is not None and fault.action is FaultAction.TRUNCATE:
            await response.write(line[: len(line) // 2])
            raise WatchDropped
        await response.write(line)
        if fault is not None and fault.action is FaultAction.DROP_AFTER:
            raise WatchDropped

    # A client which goes away while we write is the usual end of a watch.
    with contextlib.suppress(ConnectionError):
        try:
            await cluster.watches.stream(wanted, send)
            await response.write_eof()
        except WatchDropped:
            _close(request)
    return response


async def _faulty(
    request: web.Request, response: web.Response, fault: Fault | None
) -> web.StreamResponse:
    """Spoil an answer, when that is what the fault does."""
    if fault is None:
        return response
    match fault.action:
        case FaultAction.DROP_AFTER:
            return _dropped(request)
        case FaultAction.TRUNCATE:
            body = response.body if isinstance(response.body, bytes) else b""
            partial = web.StreamResponse(status=response.status, headers=response.headers)
            partial.content_length = len(body)
            await partial.prepare(request)
            await partial.write(body[: len(body) // 2])
            _close(request)
            return partial
        case _:
            return response


def _dropped(request: web.Request) -> web.Response:
    """Break the connection off before anything of the answer is sent."""
    if request.transport is not None:
        request.transport.abort()
    # Never sent: the connection is gone. aiohttp wants a response all the same.
    return web.Response(status=500)


def _close(request: web.Request) -> None:
    """Close the connection after what was written so far has left."""
    if request.transport is not None:
        request.transport.close()


def _json(status: int, body: JsonObject) -> web.Response:
    return web.Response(
        status=status, body=json.dumps(body).encode(), content_type="application/json"
    )
