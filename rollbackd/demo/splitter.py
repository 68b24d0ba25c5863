"""A small reverse proxy that splits traffic by weight: the demo's fallback where NGINX is missing.

``python -m rollbackd.demo.splitter --file weights.json`` serves at the file's ``admin`` address.
Paths under ``/-/`` are its own (see ``actions.splitter_switch``); all others are passed on. Like
NGINX it keeps using what it has loaded until it is told to reload, and refuses a broken file.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from actions.splitter_switch import parse_weights
from actions.upstream_file import digest

UPSTREAM_TIMEOUT_S = 5.0
"""For an upstream to answer; the demo's services answer in tens of milliseconds."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection, not about the message: those we make ourselves."""


class Rotation:
    """Smooth weighted round robin, as NGINX does it: each server in proportion, never in bursts.

    Args:
        weights: from address to weight; at least one is above 0.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = {address: weight for address, weight in weights.items() if weight > 0}
        self._credit = dict.fromkeys(self._weights, 0.0)
        self._total = sum(self._weights.values())

    def next(self) -> str:
        """Return the address whose turn it is."""
        for address, weight in self._weights.items():
            self._credit[address] += weight
        chosen = max(self._credit, key=self._credit.__getitem__)
        self._credit[chosen] -= self._total
        return chosen


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upstream answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


async def forward(address: str, request: Request) -> Answer:
    """Pass one request on and return the answer.

    In HTTP/1.0, as NGINX does by default: the answer is never chunked and ends with the
    connection.

    Raises:
        OSError, TimeoutError: the upstream refused, broke off or was too slow.
        ValueError: what it answered is not HTTP.
    """
    path, query = request.scope["raw_path"], request.scope["query_string"]
    target = (path + (b"?" + query if query else b"")).decode("latin-1")  # still percent-encoded
    body = await request.body()
    kept = [(k, v) for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP]
    lines = [f"{request.method} {target} HTTP/1.0", f"Host: {address}"]
    lines += [f"{name}: {value}" for name, value in kept]
    lines += [f"Content-Length: {len(body)}", "", ""]
    async with asyncio.timeout(UPSTREAM_TIMEOUT_S):
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write("\r\n".join(lines).encode("latin-1") + body)
            return _parse(await reader.read())
        finally:
            writer.close()


def _parse(raw: bytes) -> Answer:
    """Return the answer in a connection's bytes. Raises ValueError when it is not HTTP."""
    head, found, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not (found and first.startswith("HTTP/1.")):
        raise ValueError("the upstream broke off, or does not speak HTTP")
    headers = [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines)]
    length = next((int(v) for k, v in headers if k.lower() == "content-length"), len(body))
    if len(body) < length:
        raise ValueError(f"the upstream broke off after {len(body)} of {length} bytes")
    kept = tuple((k, v) for k, v in headers if k.lower() not in HOP_BY_HOP)
    return Answer(int(first.split()[1]), kept, body)


class Splitter:
    """The proxy: what it has loaded, and the endpoints.

    Args:
        file: the weights.

    Raises:
        ValueError, OSError: the file cannot be used; a running splitter keeps what it has.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._load()

    def _load(self) -> None:
        text = self._file.read_text()
        self._rotation = Rotation(parse_weights(text)["servers"])
        self._sha256 = digest(text)

    def app(self) -> Starlette:
        """Return the ASGI application."""

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[None]:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_or_keep)
            yield

        app = Starlette(
            lifespan=lifespan,
            routes=[
                Route("/-/state", self._state),
                Route("/-/check", self._check, methods=["POST"]),
                Route("/-/reload", self._reload, methods=["POST"]),
            ],
        )
        app.router.default = self._pass_on  # whatever the method, and whatever is in the path
        return app

    def _reload_or_keep(self) -> None:
        """Reload on SIGHUP, as NGINX does; a broken file changes nothing."""
        with suppress(ValueError, OSError):
            self._load()

    async def _state(self, _request: Request) -> Response:
        return JSONResponse({"sha256": self._sha256})

    async def _check(self, _request: Request) -> Response:
        try:
            parse_weights(self._file.read_text())
        except (ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"error": None})

    async def _reload(self, _request: Request) -> Response:
        try:
            self._load()
        except (ValueError, OSError) as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"sha256": self._sha256})

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = self._rotation.next()
        try:
            answer = await forward(address, Request(scope, receive))
        except (OSError, TimeoutError, ValueError) as error:
            text = f"upstream {address}: {type(error).__name__}: {error}\n"
            answer = Answer(502, (("Content-Type", "text/plain"),), text.encode())
        response = Response(answer.body, answer.status)
        for name, value in (*answer.headers, ("X-Upstream", address)):
            response.headers.append(name, value)
        await response(scope, receive, send)


@click.command()
@click.option("--file", type=click.Path(path_type=Path), required=True, help="JSON with weights.")
def main(file: Path) -> None:
    """Split HTTP traffic over servers by weight."""
    try:
        host, _, port = parse_weights(file.read_text())["admin"].rpartition(":")
        app = Splitter(file).app()
    except (ValueError, OSError) as error:
        raise click.ClickException(f"{file}: {error}") from error
    uvicorn.run(app, host=host, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
