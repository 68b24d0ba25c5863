"""Two regions on this machine: services, customers who follow DNS, probes, Prometheus, BIND."""

import asyncio
import json
import random
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tests.servers.nameservers import KEY_NAME, KEY_SECRET, Bind, Knot
from tests.servers.nginx import eventually, free_port
from tests.servers.prometheus import PrometheusServer

ZONE, NAME = "shop.test", "www.shop.test"
ADDRESSES = {"eu": ("127.0.0.2", "127.0.0.3"), "us": ("127.0.0.4", "127.0.0.5")}
HEALTHY_SHARE, SICK_SHARE = 0.005, 0.5
CUSTOMERS_A_S = 40
PROBES_A_S = 15
"""To each address, whatever DNS says: what keeps a drained region measurable."""
WARM_S = 8


class Service:
    """The shop at every address of both regions, and those who ask it; on a thread of its own."""

    def __init__(self, port: int, resolver: Bind) -> None:
        self.sick: set[str] = set()
        self.served = dict.fromkeys(_every(), 0)
        self._failed = dict.fromkeys(_every(), 0)
        self._customers = dict.fromkeys(_every(), 0)
        self._port = port
        self._resolver = resolver
        self._dice = random.Random(6)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def customers(self, region: str) -> int:
        """Return how many customers DNS has led to a region."""
        return sum(self._customers[address] for address in ADDRESSES[region])

    async def _run(self) -> None:
        runners = []
        for address in _every():
            app = web.Application()
            app.router.add_get("/", partial(self._shop, address))
            app.router.add_get("/metrics", partial(self._metrics, address))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, address, self._port).start()
            runners.append(runner)
        timeout = ClientTimeout(total=5)
        async with ClientSession(timeout=timeout, connector=TCPConnector(limit=64)) as session:
            await asyncio.gather(
                self._shopping(session), *(self._probing(session, a) for a in _every())
            )
        for runner in runners:
            await runner.cleanup()

    async def _shop(self, address: str, _: web.Request) -> web.Response:
        region = next(r for r, addresses in ADDRESSES.items() if address in addresses)
        bad = self._dice.random() < (SICK_SHARE if region in self.sick else HEALTHY_SHARE)
        self.served[address] += 1
        self._failed[address] += bad
        return web.Response(status=500 if bad else 200)

    async def _metrics(self, address: str, _: web.Request) -> web.Response:
        return web.Response(
            text="# TYPE http_requests_total counter\n"
            f'http_requests_total{{code="200"}} {self.served[address] - self._failed[address]}\n'
            f'http_requests_total{{code="500"}} {self._failed[address]}\n'
        )

    async def _shopping(self, session: ClientSession) -> None:
        while not self._stop.is_set():
            found = await asyncio.to_thread(self._resolver.ask, NAME, "A")
            for address in (
                self._dice.choices(sorted(found), k=CUSTOMERS_A_S // 2) if found else ()
            ):
                self._customers[address] += 1
                await self._ask(session, address)
            await asyncio.sleep(0.5)

    async def _probing(self, session: ClientSession, address: str) -> None:
        while not self._stop.is_set():
            await self._ask(session, address)
            await asyncio.sleep(1 / PROBES_A_S)

    async def _ask(self, session: ClientSession, address: str) -> None:
        try:
            async with session.get(f"http://{address}:{self._port}/") as answer:
                await answer.read()
        except (ClientError, TimeoutError):
            return


def _every() -> tuple[str, ...]:
    return tuple(address for addresses in ADDRESSES.values() for address in addresses)


class TwoRegions:
    """Everything but the daemon; use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        port = free_port()
        self.knot = Knot(folder / "knot", "knot", ZONE)
        values = [f"www 1 A {address}" for address in _every()]
        self.bind = Bind(folder / "bind", ZONE, values, [self.knot.server])
        self.service = Service(port, self.bind)
        self.prometheus = {
            region: PrometheusServer(folder / region, targets=[f"{a}:{port}" for a in addresses])
            for region, addresses in ADDRESSES.items()
        }

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.bind)
            self.knot.follow(self.bind.server)
            stack.enter_context(self.knot)
            stack.enter_context(self.service)
            for server in self.prometheus.values():
                stack.enter_context(server)
            least = min(self.service.served.values()) + WARM_S * PROBES_A_S
            warm = eventually(lambda: min(self.service.served.values()) > least, 90)
            assert warm, self.service.served
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def leads_to(self) -> set[str]:
        """Return the regions that the name leads to, as a resolver finds them."""
        found = self.bind.ask(NAME, "A")
        return {region for region, addresses in ADDRESSES.items() if found & set(addresses)}

    def write_config(
        self, mode: str = "enforce", *, late_nameserver: str = ""
    ) -> tuple[Path, int]:
        """Write a configuration; return it and the daemon's port.

        ``late_nameserver``: one more server to ask after a change.
        """
        port = free_port()
        (self.folder / "key").write_text(f"{KEY_SECRET}\n")
        (self.folder / "token").write_text("secret-token\n")
        config = {
            "tick": "1s",
            "settle": "1s",
            "journal": {"url": "sqlite:///rollbackd.db"},
            "http": {"listen": f"127.0.0.1:{port}", "token_file": "token"},
            "source": {"prometheus": {"url": self.prometheus["eu"].url}},
            "rollouts": {
                "static": [
                    {
                        "name": "shop",
                        "id_label": "instance",
                        "baseline": {"label": "v1", "instances": ["nowhere:1"]},
                        "canary": {"label": "v2", "instances": []},
                    }
                ]
            },
            "policies": [{"name": "default", "signals": [ERRORS]}],
            "regions": self._regions(mode, [late_nameserver] if late_nameserver else []),
        }
        file = self.folder / "rollbackd.yaml"
        file.write_text(json.dumps(config))  # JSON is YAML
        return file, port

    def _regions(self, mode: str, more: list[str]) -> Mapping[str, Any]:
        servers = [f"{s.address}:{s.port}" for s in (self.bind.server, self.knot.server)]
        return {
            "mode": mode,
            "history": "20s",
            "persistence": "2s",
            "warm_up": "0s",
            "sick_for": "1s",
            "healthy_for": "5s",
            "dwell": "2s",
            "step_pause": "0s",
            "min_drain": "3s",
            "signals": [ERRORS],
            "dns": [
                {
                    "name": "bind",
                    "nameservers": [*servers, *more],
                    "rfc2136": {
                        "zone": ZONE,
                        "server": servers[0],
                        "key_name": KEY_NAME,
                        "secret_file": "key",
                        "timeout": "2s",
                    },
                }
            ],
            "records": [
                {
                    "name": NAME,
                    "dns": "bind",
                    "regions": {region: list(a) for region, a in ADDRESSES.items()},
                }
            ],
            "members": [
                {
                    "name": region,
                    "prometheus": {"url": server.url},
                    "load": "sum(rate(http_requests_total[10s]))",
                    "capacity": "scalar(vector(1000)) + 0 * sum(up)",
                }
                for region, server in self.prometheus.items()
            ],
        }


ERRORS = {
    "name": "errors",
    "ratio": {"total": "http_requests_total", "bad": 'http_requests_total{code="500"}'},
    "floor": "2%",
    "harm_rate": "8%",
}
