"""A small reverse proxy that splits traffic by weight: the demo's fallback where NGINX is missing.

``python -m rollbackd.demo.splitter --file weights.json`` serves at the file's ``admin`` address.
Paths under ``/-/`` are its own (see ``actions.splitter_switch``); all others are passed on. Like
NGINX it keeps using what it has loaded until it is told to reload, and refuses a broken file.
"""

import asyncio
import http.client
import itertools
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

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
"""Headers about one connection, not about the message; ``http.client`` makes its own."""

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


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


def forward(
    address: str, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes
) -> Answer:
    """Pass one request on and return the answer; blocks.

    Raises:
        OSError, http.client.HTTPException: the upstream refused, broke off or was too slow.
    """
    connection = http.client.HTTPConnection(address, timeout=UPSTREAM_TIMEOUT_S)
    try:
        sent = {name: value for name, value in headers if name.lower() not in HOP_BY_HOP}
        connection.request(method, target, body=body or None, headers=sent)
        answer = connection.getresponse()
        content = answer.read()
        kept = tuple(h for h in answer.getheaders() if h[0].lower() not in HOP_BY_HOP)
        return Answer(answer.status, kept, content)
    finally:
        connection.close()


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

        return Starlette(
            lifespan=lifespan,
            routes=[
                Route("/-/state", self._state),
                Route("/-/check", self._check, methods=["POST"]),
                Route("/-/reload", self._reload, methods=["POST"]),
                Route("/{path:path}", self._pass_on, methods=METHODS),
            ],
        )

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

    async def _pass_on(self, request: Request) -> Response:
        address = self._rotation.next()
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        body = await request.body()
        try:
            answer = await run_in_threadpool(
                forward, address, request.method, target, request.headers.items(), body
            )
        except (OSError, http.client.HTTPException) as error:
            text = f"upstream {address}: {type(error).__name__}\n"
            return Response(text, 502, {"X-Upstream": address}, "text/plain")
        response = Response(answer.body, answer.status)
        for name, value in itertools.chain(answer.headers, [("X-Upstream", address)]):
            response.headers.append(name, value)
        return response


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
