"""Small stand-ins for the services that notifiers send to, over real HTTP.

Each keeps its service's rules as its documentation gives them, and answers 400 to what it would not
take.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

Json = Any
R = TypeVar("R", bound="Receiver")


class Invalid(Exception):
    """The service would refuse this."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Json:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Takes everything. ``troubles``: status and headers of the next answers, before it looks."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    troubles: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    def take(self, request: Request) -> tuple[int, Json]:
        del request
        return 200, {"ok": True}


@dataclass
class FakePagerDuty(Receiver):
    """``incidents``: the newest payload of those that are open, by their key."""

    incidents: dict[str, Json] = field(default_factory=dict)

    def take(self, request: Request) -> tuple[int, Json]:
        event = request.json()
        if (request.method, request.path) != ("POST", "/v2/enqueue"):
            raise Invalid("no such endpoint")
        if event["routing_key"] != "R0UTE" or not 1 <= len(event["dedup_key"]) <= 255:
            raise Invalid("routing_key or dedup_key")
        match event["event_action"]:
            case "trigger":
                payload = event["payload"]
                if payload["severity"] not in {"info", "warning", "error", "critical"}:
                    raise Invalid("severity")
                if not 1 <= len(payload["summary"]) <= 1024 or not payload["source"]:
                    raise Invalid("summary or source")
                datetime.fromisoformat(payload["timestamp"])
                self.incidents[event["dedup_key"]] = payload
            case "resolve":
                self.incidents.pop(event["dedup_key"], None)
            case _:
                raise Invalid("event_action")
        return 202, {"status": "success", "dedup_key": event["dedup_key"]}


@dataclass
class FakeAlertmanager(Receiver):
    """``alerts``: by their labels, with when they end."""

    alerts: dict[frozenset[tuple[str, str]], Json] = field(default_factory=dict)

    def take(self, request: Request) -> tuple[int, Json]:
        if (request.method, request.path) != ("POST", "/api/v2/alerts"):
            raise Invalid("no such endpoint")
        for alert in request.json():
            if not alert["labels"].get("alertname"):
                raise Invalid("at least one label pair required")
            began, ends = (datetime.fromisoformat(alert[k]) for k in ("startsAt", "endsAt"))
            if ends < began:
                raise Invalid("start time must be before end time")
            self.alerts[frozenset(alert["labels"].items())] = alert
        return 200, {}

    def firing(self, now: float) -> list[Json]:
        return [
            alert
            for alert in self.alerts.values()
            if datetime.fromisoformat(alert["endsAt"]).timestamp() > now
        ]


@dataclass
class FakeGrafana(Receiver):
    annotations: dict[int, Json] = field(default_factory=dict)

    def take(self, request: Request) -> tuple[int, Json]:
        if request.headers["authorization"] != "Bearer T0KEN":
            return 401, {"message": "Unauthorized"}
        content = request.json()
        if not isinstance(content["time"], int) or not content["text"]:
            raise Invalid("bad request data")
        base = "/api/annotations"
        if (request.method, request.path) == ("POST", base):
            number = len(self.annotations) + 1
            self.annotations[number] = content
            return 200, {"message": "Annotation added", "id": number}
        number = int(request.path.removeprefix(f"{base}/"))
        if request.method != "PATCH" or number not in self.annotations:
            return 404, {"message": "Could not find annotation to update"}
        self.annotations[number] |= content
        return 200, {"message": "Annotation patched"}


@contextmanager
def serving(receiver: R) -> Iterator[R]:
    """Serve a receiver on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {key.lower(): value for key, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            receiver.requests.append(request)
            more: dict[str, str] = {}
            content: Json = {}
            if receiver.troubles:
                status, more = receiver.troubles.pop(0)
            else:
                try:
                    status, content = receiver.take(request)
                except (Invalid, KeyError, ValueError, TypeError) as error:
                    status, content = 400, {"error": str(error)}
            answer = json.dumps(content).encode()
            self.send_response(status)
            for key, value in (more | {"Content-Length": str(len(answer))}).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PATCH = _take  # noqa: N815 - as http.server wants it

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
