"""`/_fake/…`: what a test does to a fake which runs as a process of its own.

Never hit by faults, never logged, never asks for a token.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.kube_api.access import Access
from tests.fakes.kube_api.controllers.readiness import parse_readiness
from tests.fakes.kube_api.faults import Fault, FaultAction
from tests.fakes.kube_api.objects.errors import ApiError
from tests.fakes.kube_api.objects.metadata import ObjectName
from tests.fakes.kube_api.pod_status import set_pod_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.fakes.kube_api.cluster import Cluster
    from tests.fakes.kube_api.objects.metadata import JsonObject

    Handler = Callable[[web.Request], Awaitable[web.Response]]


class _Control:
    """The handlers, bound to their cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def list_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._cluster.faults.listed())

    async def add_fault(self, request: web.Request) -> web.Response:
        body = await _body(request)
        fault = Fault(**{**body, "action": FaultAction(body["action"])})
        return web.json_response({"id": self._cluster.faults.add(fault)}, status=201)

    async def remove_fault(self, request: web.Request) -> web.Response:
        was_on = self._cluster.faults.remove(int(request.match_info["id"]))
        return web.json_response({"removed": was_on}, status=200 if was_on else 404)

    async def clear_faults(self, _request: web.Request) -> web.Response:
        self._cluster.faults.clear()
        return web.json_response({})

    async def list_requests(self, request: web.Request) -> web.Response:
        entries = self._cluster.requests.after(int(request.query.get("after", "0")))
        return web.json_response([asdict(entry) for entry in entries])

    async def clear_requests(self, _request: web.Request) -> web.Response:
        self._cluster.requests.clear()
        return web.json_response({})

    async def set_pod_status(self, request: web.Request) -> web.Response:
        body = await _body(request)
        name = ObjectName(request.match_info["namespace"], request.match_info["name"])
        pod = set_pod_status(
            self._cluster, name, is_ready=body.get("ready"), status=body.get("status")
        )
        return web.json_response(pod)

    async def set_readiness(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self._cluster.pods.readiness = parse_readiness(str(body["ready_after"]))
        self._cluster.control_loop.wake()
        return web.json_response({})

    async def set_access(self, request: web.Request) -> web.Response:
        body = await _body(request)
        denied = frozenset(str(denial) for denial in body.get("denied", ()))
        self._cluster.access = Access(body.get("token"), denied)
        return web.json_response({})

    async def compact_history(self, request: web.Request) -> web.Response:
        body = await _body(request)
        answers_http = bool(body.get("answers_http", False))
        revision = self._cluster.compact_history(answers_http=answers_http)
        return web.json_response({"resourceVersion": str(revision)})

    async def end_watches(self, request: web.Request) -> web.Response:
        body = await _body(request)
        ended = self._cluster.watches.open_count
        self._cluster.watches.end_all("gone" if body.get("how") == "gone" else "drop")
        return web.json_response({"ended": ended})

    async def skip_time(self, request: web.Request) -> web.Response:
        body = await _body(request)
        self._cluster.skip_time(float(body["seconds"]))
        return web.json_response({"now": self._cluster.clock.now()})

    async def list_errors(self, _request: web.Request) -> web.Response:
        return web.json_response([repr(error) for error in self._cluster.control_loop.errors])


def control_routes(cluster: Cluster) -> list[web.RouteDef]:
    """Return the routes of the control endpoint."""
    control = _Control(cluster)
    return [
        web.get("/_fake/faults", control.list_faults),
        web.post("/_fake/faults", _checked(control.add_fault)),
        web.delete("/_fake/faults", control.clear_faults),
        web.delete(r"/_fake/faults/{id:\d+}", control.remove_fault),
        web.get("/_fake/requests", _checked(control.list_requests)),
        web.delete("/_fake/requests", control.clear_requests),
        web.put("/_fake/pods/{namespace}/{name}/status", _checked(control.set_pod_status)),
        web.put("/_fake/readiness", _checked(control.set_readiness)),
        web.put("/_fake/access", _checked(control.set_access)),
        web.post("/_fake/history/compact", _checked(control.compact_history)),
        web.post("/_fake/watches/end", _checked(control.end_watches)),
        web.post("/_fake/clock/skip", _checked(control.skip_time)),
        web.get("/_fake/errors", control.list_errors),
    ]


def _checked(handler: Handler) -> Handler:
    """Answer what a handler could not read with 400, so that a test sees its own mistake."""

    async def checked(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except ApiError as error:
            return web.json_response(error.status(), status=error.code)
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": repr(error)}, status=400)

    return checked


async def _body(request: web.Request) -> JsonObject:
    raw = await request.read()
    body = json.loads(raw) if raw else {}
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body
