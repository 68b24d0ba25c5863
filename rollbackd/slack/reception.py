"""The two ways from Slack to the door: Socket Mode, which needs no ingress, and signed HTTP."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import structlog
from slack_bolt import App, BoltRequest
from slack_bolt.adapter.socket_mode.builtin import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.signature import SignatureVerifier
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actions.ports import ActionError
from rollbackd.bodies import whole_body
from rollbackd.slack.errors import translated

log = structlog.get_logger()

PATH = "/slack/events"
MAX_BODY = 512 * 1024
"""Bytes; a press carries the message it belongs to, which is a tenth of this."""
REMEMBER_S = 600.0
"""Signatures are remembered this long: twice as long as Slack's timestamps count as new."""
MAX_REMEMBERED = 20_000
FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 60.0

Refused = Callable[[str], None]
"""Counts a request that was refused, by reason."""


class Socket:
    """A Socket Mode connection, made as soon as Slack answers, and again whenever it breaks.

    Args:
        app: what answers. app_token: for this kind of connection. base_url: of the Web API.
    """

    def __init__(self, app: App, app_token: str, base_url: str) -> None:
        # a client of its own: it is asked for an address with the app's token, not the bot's
        client = WebClient(base_url=base_url)
        quiet = logging.getLogger("rollbackd.slack.socket")
        self._handler = SocketModeHandler(app, app_token, logger=quiet, web_client=client)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._connect, name="slack-socket", daemon=True)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread.start()

    def _connect(self) -> None:
        """Connect for the first time; from then on the client does so by itself."""
        wait = FIRST_RETRY_S
        while not self._stopping.is_set():
            try:
                with translated("Socket Mode not connected"):
                    self._handler.connect()  # type: ignore[no-untyped-call]
            except ActionError as error:
                log.warning("slack not connected", error=str(error), again_in_s=wait)
            except Exception:
                log.exception("slack not connected", again_in_s=wait)
            else:
                log.info("slack connected")
                return
            self._stopping.wait(wait)
            wait = min(2 * wait, LONGEST_RETRY_S)

    def close(self) -> None:
        """Disconnect."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(10)
        self._handler.close()  # type: ignore[no-untyped-call]


class Signed:
    """Takes requests that Slack signed not long ago, each once.

    Bolt would check the signature, too, but only after it read the body; and it would take the
    same request again for some minutes.
    """

    def __init__(self, app: App, signing_secret: str, refused: Refused) -> None:
        self._app = app
        self._verifier = SignatureVerifier(signing_secret)
        self._refused = refused
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def routes(self) -> list[Route]:
        """Return what is to be mounted."""
        return [Route(PATH, self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        body = await whole_body(request, MAX_BODY)
        if body is None:
            return self._refuse("too large", 413)
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return self._refuse("not text", 400)
        headers = {key: [value] for key, value in request.headers.items()}
        return await run_in_threadpool(self._dispatch, text, headers)

    def _dispatch(self, text: str, headers: Mapping[str, Sequence[str]]) -> Response:
        signature = headers.get("x-slack-signature", [""])[0]
        timestamp = headers.get("x-slack-request-timestamp", [""])[0]
        well_formed = signature.isascii() and timestamp.isascii() and timestamp.isdigit()
        if not well_formed or not self._verifier.is_valid(text, timestamp, signature):
            return self._refuse("signature", 401)
        if not self._is_new(signature):
            return self._refuse("repeated", 409)
        try:
            answer = self._app.dispatch(BoltRequest(body=text, headers=dict(headers)))
        except Exception:
            log.exception("slack request broke")
            return self._refuse("broken", 400)
        kept = {k: v[0] for k, v in answer.headers.items() if k.lower() != "content-length"}
        return Response(answer.body, answer.status, kept)

    def _is_new(self, signature: str) -> bool:
        """Take note of a signature; return False when it was there already."""
        now = time.monotonic()
        with self._lock:
            if signature in self._seen:
                return False
            self._seen[signature] = now
            while len(self._seen) > MAX_REMEMBERED or (
                now - next(iter(self._seen.values())) > REMEMBER_S
            ):
                self._seen.popitem(last=False)
            return True

    def _refuse(self, reason: str, status: int) -> Response:
        self._refused(reason)
        log.warning("slack request refused", reason=reason)
        return PlainTextResponse(f"refused: {reason}\n", status)
