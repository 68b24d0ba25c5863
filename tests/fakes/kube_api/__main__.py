"""Run the fake API server as a process: `python -m tests.fakes.kube_api --port 8001`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

from .access import Access
from .cluster import Cluster, ClusterSettings
from .controllers.readiness import parse_readiness
from .serving.server import serving


def main() -> int:
    """Serve until SIGTERM or SIGINT; print one line with the URL when ready."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    settings = ClusterSettings(
        access=Access(options.token, frozenset(options.deny)),
        readiness=parse_readiness(options.ready_after),
    )
    asyncio.run(_serve(settings, options.port))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.fakes.kube_api", description=__doc__)
    parser.add_argument("--port", type=int, default=8001, help="on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--token", help="the bearer token clients must show")
    parser.add_argument(
        "--deny",
        action="append",
        default=[],
        metavar="'VERB RESOURCE'",
        help="answer 403 to this, as in 'patch deployments'; may be repeated",
    )
    parser.add_argument(
        "--ready-after", default="0", help="seconds until a pod is ready, or 'never'"
    )
    return parser


async def _serve(settings: ClusterSettings, port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with serving(Cluster(settings), port) as url:
        sys.stdout.write(f"fake Kubernetes API at {url}\n")
        sys.stdout.flush()
        await stopping.wait()


if __name__ == "__main__":
    sys.exit(main())
