"""The demo's customers: a bounded stream of requests, measured where it counts, at the caller.

A process that crashes cannot count its own failures, so the judged metrics are the caller's:
``client_requests_total{upstream,code}`` and ``client_request_duration_seconds{upstream}``, where
``upstream`` is the server that NGINX (or the splitter) names in ``X-Upstream``.
"""

import asyncio
import random
import time
from dataclasses import dataclass, field

import click
from prometheus_client import Counter, Histogram, start_http_server

MAX_CONNECTIONS = 128
"""Requests in flight; when all are busy, a customer turns away and is counted as such."""

REQUEST_TIMEOUT_S = 5.0

UNKNOWN = "none"
"""The upstream of a request that no server is known to have seen."""

REQUESTS = Counter("client_requests", "Requests sent, by who answered.", ["upstream", "code"])
DURATION = Histogram(
    "client_request_duration_seconds",
    "Time from sending a request to having its answer.",
    ["upstream"],
)
TURNED_AWAY = Counter("client_turned_away", "Requests not sent: too many were in flight.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status code, and the server that gave it."""

    code: str
    upstream: str
    keeps_open: bool


@dataclass
class Customer:
    """One keep-alive connection; opened when needed, thrown away after trouble."""

    host: str
    port: int
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None)

    async def ask(self) -> Answer:
        """Send one request; trouble is an answer too (code 000)."""
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                answer = await self._exchange()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError, LookupError):
            answer = Answer("000", UNKNOWN, keeps_open=False)
        if not answer.keeps_open:
            self.close()
        return answer

    async def _exchange(self) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port)
        reader, writer = self._streams
        writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
        await reader.readexactly(int(headers["content-length"]))
        # after trouble NGINX names every server it tried; the last one counts
        upstream = headers.get("x-upstream", UNKNOWN).rpartition(", ")[2]
        return Answer(head[0].split()[1], upstream, headers.get("connection") != "close")

    def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Crowd:
    """Customers that come at random (Poisson) at a mean rate, whatever the service does.

    Args:
        host, port: where they go.
        rate: requests a second.
        dice: decides when they come.
    """

    def __init__(self, host: str, port: int, rate: float, dice: random.Random) -> None:
        self._idle = [Customer(host, port) for _ in range(MAX_CONNECTIONS)]
        self._rate = rate
        self._dice = dice
        self._shopping: set[asyncio.Task[None]] = set()

    async def come(self, seconds: float) -> None:
        """Send requests for so many seconds."""
        start = due = time.monotonic()
        while due < start + seconds:
            due += self._dice.expovariate(self._rate)
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if not self._idle:
                TURNED_AWAY.inc()
                continue
            task = asyncio.create_task(self._shop(self._idle.pop()))
            self._shopping.add(task)
            task.add_done_callback(self._shopping.discard)

    async def _shop(self, customer: Customer) -> None:
        started = time.perf_counter()
        answer = await customer.ask()
        DURATION.labels(answer.upstream).observe(time.perf_counter() - started)
        REQUESTS.labels(answer.upstream, answer.code).inc()
        self._idle.append(customer)


@click.command()
@click.option("--target", required=True, help="host:port of the proxy.")
@click.option("--metrics-port", type=int, required=True)
@click.option("--rate", type=float, default=200.0, show_default=True, help="Requests a second.")
@click.option("--seconds", type=float, required=True, help="End after this long.")
@click.option("--seed", type=int, default=None, help="For the moments at which requests are sent.")
def main(target: str, metrics_port: int, rate: float, seconds: float, seed: int | None) -> None:
    """Send requests and count how they are answered."""
    host, _, port = target.rpartition(":")
    start_http_server(metrics_port, addr="127.0.0.1")
    dice = random.Random(seed)  # noqa: S311  (noise, not secrets)
    asyncio.run(Crowd(host, int(port), rate, dice).come(seconds))


if __name__ == "__main__":
    main()
