"""One process of the demo's shop: an HTTP service with metrics, spans, noise, and a fault to arm.

``python -m rollbackd.demo.service --port 9001 --version v1`` answers ``GET /`` and ``GET /metrics``.
With ``--fault KIND`` it goes bad when it gets SIGUSR1 (or at once, with ``--armed``).
"""

import asyncio
import math
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import click
import uvicorn
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rollbackd.demo.stock import StockClient

TYPICAL_LATENCY_S = 0.120
"""Median time to answer; long beside the tens of milliseconds that a busy machine adds."""

LATENCY_SPREAD = 0.45
"""Standard deviation of the logarithm of the time to answer: p99 is about 2.8 times the median."""

ERROR_SHARE = 0.005
"""Of requests that fail in a healthy service, so that one failed request proves nothing."""

DRIFT = 0.05
"""Latency swings by this share, for all processes alike: a busy database, say."""

DRIFT_PERIOD_S = 12.0
"""One swing; the demo's short history of the baseline must have seen it to know it as normal."""

FAULTY_ERROR_SHARE = 0.20
FAULTY_SLOWDOWN = 2.5
FAULTY_LIFE_S = 1.5
"""Mean time from start to crash, exponentially distributed."""

QUERIES_OF_N_PLUS_ONE = 10
"""Queries for one answer, once each item is asked for by itself instead of all at once."""

FAULTS = ("errors", "latency", "crash", "n-plus-one", "none")

REQUESTS = Counter("http_requests", "Requests answered.", ["code"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer.")
"""With the library's default buckets, which most services have."""


@dataclass
class Behaviour:
    """How the service answers, healthy or not.

    Attributes:
        fault: what happens when it is armed: one of ``FAULTS``.
        dice: where its noise comes from.
    """

    fault: str
    dice: random.Random
    armed: bool = field(default=False)

    def has(self, fault: str) -> bool:
        """Tell whether this fault is on."""
        return self.armed and self.fault == fault

    def latency_s(self, now: float) -> float:
        """Return how long the next answer takes: log-normal around a slowly moving median."""
        drift = 1 + DRIFT * math.sin(2 * math.pi * now / DRIFT_PERIOD_S)
        slowdown = FAULTY_SLOWDOWN if self.has("latency") else 1.0
        return TYPICAL_LATENCY_S * slowdown * drift * self.dice.lognormvariate(0, LATENCY_SPREAD)

    def fails(self) -> bool:
        """Tell whether the next answer is an error."""
        share = FAULTY_ERROR_SHARE if self.has("errors") else ERROR_SHARE
        return self.dice.random() < share

    def queries(self) -> int:
        """Return how often the stock is asked for one answer."""
        return QUERIES_OF_N_PLUS_ONE if self.has("n-plus-one") else 1

    def arm(self) -> None:
        """Switch the fault on; a crash comes at a random moment after that."""
        self.armed = True
        if self.has("crash"):
            delay = self.dice.expovariate(1 / FAULTY_LIFE_S)
            asyncio.get_running_loop().call_later(delay, os._exit, 1)


def tracing(version: str, port: int) -> TracerProvider:
    """Return a tracer provider; spans leave the process only when an OTLP endpoint is configured."""
    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.name": "shop",
                "service.version": version,
                "service.instance.id": f"127.0.0.1:{port}",
            }
        )
    )
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def application(
    behaviour: Behaviour, tracer: trace.Tracer, stock: StockClient | None = None
) -> Starlette:
    """Return the shop as an ASGI application; without a stock it sells what it has not."""

    async def look_up() -> None:
        if stock is None:
            return
        for _ in range(behaviour.queries()):
            with tracer.start_as_current_span("SELECT items", kind=SpanKind.CLIENT) as span:
                span.set_attribute("db.system.name", "stock")
                await stock.query()

    async def shop(_request: Request) -> Response:
        started = time.perf_counter()
        with tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as span:
            await look_up()
            await asyncio.sleep(behaviour.latency_s(time.time()))
            code = 500 if behaviour.fails() else 200
            span.set_attribute("http.response.status_code", code)
            if code != 200:  # noqa: PLR2004  (HTTP: success)
                span.set_status(Status(StatusCode.ERROR))
        REQUESTS.labels(str(code)).inc()
        DURATION.observe(time.perf_counter() - started)
        return PlainTextResponse("sold\n" if code == 200 else "out of order\n", code)  # noqa: PLR2004

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, behaviour.arm)
        if behaviour.armed:
            behaviour.arm()
        yield
        if stock is not None:
            await stock.close()

    return Starlette(routes=[Route("/", shop), Route("/metrics", metrics)], lifespan=lifespan)


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--version", required=True, help="Shown in spans.")
@click.option("--fault", type=click.Choice(FAULTS), default="none", help="What SIGUSR1 arms.")
@click.option("--armed", is_flag=True, help="Start with the fault on.")
@click.option("--stock", type=int, default=None, help="Port of the stock, see stock.py.")
@click.option("--seed", type=int, default=None, help="For the noise.")
def main(
    *, port: int, version: str, fault: str, armed: bool, stock: int | None, seed: int | None
) -> None:
    """Serve the demo's shop on the loopback interface."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the loop listens, it must not kill us
    for code in ("200", "500"):
        REQUESTS.labels(code)
    behaviour = Behaviour(fault, random.Random(seed), armed)  # noqa: S311  (noise, not secrets)
    client = None if stock is None else StockClient(stock)
    app = application(behaviour, tracing(version, port).get_tracer("rollbackd.demo"), client)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
