"""The workspace and its servers."""

import asyncio
import itertools
import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import WSMsgType, web

from tests.fakes.slack.limits import MAX_TEXT, problems

BOT_TOKEN, APP_TOKEN, SIGNING_SECRET = "xoxb-bot", "xapp-app", "5ecre7"
CHANNEL = "C0ROLLOUTS"
BUSY = 10
"""How much slower a busy test machine may be than one that Slack talks to."""
ACK_S = 3.0 * BUSY
T = TypeVar("T")
Json = dict[str, Any]


class NotAcknowledged(AssertionError):
    """A request was not acknowledged in time (Slack: three seconds): people see a warning then."""


class Refusal(Exception):
    """What Slack answers with ``ok: false``."""


@dataclass
class Message:
    channel: str
    ts: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    edits: int = 0

    def buttons(self) -> dict[str, Json]:
        """Return the buttons by their label."""
        return {
            element["text"]["text"]: element
            for block in self.blocks
            if block["type"] == "actions"
            for element in block["elements"]
        }

    def shown(self) -> str:
        """Return all text of the blocks."""
        texts = []
        for block in self.blocks:
            texts += [block["text"]["text"]] if "text" in block else []
            texts += [e["text"] for e in block.get("elements", []) if block["type"] == "context"]
        return "\n".join(texts)


class FakeSlack:
    """A workspace with one channel; use it as a context manager.

    ``down``: connections are dropped. ``lacking``: scopes that the app does not have.
    ``throttled``: seconds of Retry-After for the next calls, by method.
    """

    def __init__(self) -> None:
        self.down = False
        self.lacking: set[str] = set()
        self.throttled: dict[str, list[int]] = defaultdict(list)
        self.calls: Counter[str] = Counter()
        self.messages: list[Message] = []
        self.files: dict[str, bytes] = {}
        self.shared: list[Json] = []
        self.homes: dict[str, list[Json]] = {}
        self.users = {"U1": ("ann", "ann@shop.example"), "U2": ("bob", "bob@shop.example")}
        self.foreigners: set[str] = set()
        self.real_names: dict[str, str] = {}
        self.groups = {"S1": ["U2"]}
        self.answers: list[Json] = []
        self._acks: dict[str, threading.Event] = {}
        self._sockets: list[web.WebSocketResponse] = []
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._serve())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/api/{method}", self._call)
        app.router.add_post("/upload/{id}", self._upload)
        app.router.add_post("/answers/{id}", self._answered)
        app.router.add_get("/link/{ticket}", self._link)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]

    async def _close(self) -> None:
        for socket in self._sockets:
            await socket.close()
        await self._runner.cleanup()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    def wait_until(self, holds: Callable[[], T | None], seconds: float = 30.0) -> T:
        deadline = time.monotonic() + seconds
        while True:
            found = holds()
            if found:
                return found
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.02)

    def team_of(self, user: str) -> str:
        return "T9" if user in self.foreigners else "T1"

    # What is seen in the workspace

    def posts(self) -> list[Message]:
        return [m for m in self.messages if m.thread_ts is None]

    def thread(self, message: Message) -> str:
        return "\n".join(m.shown() for m in self.messages if m.thread_ts == message.ts)

    # The Web API

    async def _call(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.calls[method] += 1
        if self.down:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        if self.throttled[method]:
            headers = {"Retry-After": str(self.throttled[method].pop(0))}
            return web.json_response(
                {"ok": False, "error": "ratelimited"}, status=429, headers=headers
            )
        arguments = await self._arguments(request)
        wanted = APP_TOKEN if method == "apps.connections.open" else BOT_TOKEN
        if request.headers.get("Authorization", "") != f"Bearer {wanted}":
            return web.json_response({"ok": False, "error": "invalid_auth"})
        try:
            return web.json_response({"ok": True, **self._do(method, arguments)})
        except Refusal as refusal:
            return web.json_response({"ok": False, "error": str(refusal), "needed": "some:scope"})

    async def _arguments(self, request: web.Request) -> Json:
        if request.content_type == "application/json":
            found: Json = json.loads(await request.text() or "{}")
            return found
        form = await request.post()
        return {k: _decoded(str(v)) for k, v in form.items()}

    def _do(self, method: str, given: Json) -> Json:
        match method:
            case "auth.test":
                return {"bot_id": "B1", "user_id": "UBOT", "team_id": "T1", "url": "https://shop"}
            case "apps.connections.open":
                return {"url": f"ws://127.0.0.1:{self.port}/link/{next(self._numbers)}"}
            case "chat.postMessage":
                return self._post(given)
            case "chat.update":
                return self._update(given)
            case "views.publish":
                self._check(given["view"]["blocks"], "home")
                self.homes[given["user_id"]] = given["view"]["blocks"]
                return {}
            case "users.info":
                self._need("users:read")
                name, address = self.users[given["user"]]
                email = {} if "users:read.email" in self.lacking else {"email": address}
                real_name = self.real_names.get(given["user"], name)
                user = {"id": given["user"], "name": name, "real_name": real_name}
                return {"user": user | {"profile": email, "team_id": self.team_of(given["user"])}}
            case "usergroups.users.list":
                self._need("usergroups:read")
                if given["usergroup"] not in self.groups:
                    raise Refusal("no_such_subteam")
                return {"users": self.groups[given["usergroup"]]}
            case "files.getUploadURLExternal":
                self._need("files:write")
                file = f"F{next(self._numbers)}"
                return {
                    "file_id": file,
                    "upload_url": f"http://127.0.0.1:{self.port}/upload/{file}",
                }
            case "files.completeUploadExternal":
                self.shared.append(given)
                return {"files": given["files"]}
        raise Refusal("unknown_method")

    def _need(self, scope: str) -> None:
        if scope in self.lacking:
            raise Refusal("missing_scope")

    def _check(self, blocks: list[Json], surface: str) -> None:
        found = list(problems(blocks, surface))
        if found:
            raise Refusal("invalid_blocks")

    def _content(self, given: Json) -> tuple[str, list[Json]]:
        if given["channel"] != CHANNEL:
            raise Refusal("channel_not_found")
        if not given.get("text"):
            raise Refusal("no_text")
        if len(given["text"]) > MAX_TEXT:
            raise Refusal("msg_too_long")
        self._check(given.get("blocks") or [], "message")
        return given["text"], given.get("blocks") or []

    def _post(self, given: Json) -> Json:
        text, blocks = self._content(given)
        ts = f"{1_800_000_000 + next(self._numbers)}.000100"
        self.messages.append(Message(given["channel"], ts, text, blocks, given.get("thread_ts")))
        return {"channel": given["channel"], "ts": ts}

    def _update(self, given: Json) -> Json:
        text, blocks = self._content(given)
        for message in self.messages:
            if message.ts == given["ts"]:
                message.text, message.blocks = text, blocks
                message.edits += 1
                return {"channel": message.channel, "ts": message.ts}
        raise Refusal("message_not_found")

    async def _upload(self, request: web.Request) -> web.Response:
        self.files[request.match_info["id"]] = await request.read()
        return web.Response(text="OK")

    async def _answered(self, request: web.Request) -> web.Response:
        """Take what an app answers to a press or a command; only the person sees it."""
        answer = await request.json()
        if any(problems(answer.get("blocks") or [], "message")):
            return web.Response(status=400, text="invalid_blocks")
        self.answers.append(answer)
        return web.Response(text="ok")

    # Socket Mode

    async def _link(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1})
        self._sockets.append(socket)
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                envelope = json.loads(frame.data).get("envelope_id", "")
                if envelope in self._acks:
                    self._acks[envelope].set()
        self._sockets.remove(socket)
        return socket

    def connected(self) -> bool:
        return bool(self._sockets)

    def deliver(self, kind: str, payload: Json) -> None:
        """Send a request over one of the sockets; wait for its acknowledgement."""
        envelope = f"E{next(self._numbers)}"
        acknowledged = self._acks[envelope] = threading.Event()
        message = {"envelope_id": envelope, "type": kind, "payload": payload}
        self._run(self._sockets[-1].send_json(message))
        if not acknowledged.wait(ACK_S):
            raise NotAcknowledged(kind)

    def answer_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/answers/{next(self._numbers)}"


def _decoded(value: str) -> object:
    """Return a form's value; lists and mappings come as JSON."""
    return json.loads(value) if value[:1] in {"[", "{"} else value
