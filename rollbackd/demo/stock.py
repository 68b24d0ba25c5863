"""The shop's database, as small as can be: a process that answers one query a line.

``python -m rollbackd.demo.stock --port 9100`` answers each line after some milliseconds. With SIGUSR1
it becomes slow, for everybody who asks.
"""

import asyncio
import random
import signal
from contextlib import suppress

import click

TYPICAL_QUERY_S = 0.008
QUERY_SPREAD = 0.3
SLOW_QUERY_S = 0.35
"""Added when it is slow: more than all the rest of a request."""
MOST_BYTES = 4096


class Stock:
    """Answers queries, and can become slow."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.slow = False

    def slow_down(self) -> None:
        """Be slow from now on."""
        self.slow = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the lines of one connection."""
        try:
            while await reader.readline():
                wait = TYPICAL_QUERY_S * self._dice.lognormvariate(0, QUERY_SPREAD)
                await asyncio.sleep(wait + (SLOW_QUERY_S if self.slow else 0.0))
                writer.write(b"items\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            return
        finally:
            writer.close()


class StockClient:
    """Asks the stock; keeps connections and uses each for one query at a time.

    Args:
        port: of the stock on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    @property
    def idle(self) -> int:
        """How many connections wait for a query."""
        return len(self._idle)

    async def query(self) -> None:
        """Ask once. Raises OSError or EOFError."""
        connection = (
            self._idle.pop()
            if self._idle
            else await asyncio.open_connection("127.0.0.1", self._port, limit=MOST_BYTES)
        )
        reader, writer = connection
        try:
            writer.write(b"SELECT items\n")
            await reader.readuntil(b"\n")
        except BaseException:
            writer.close()
            raise
        self._idle.append(connection)

    async def close(self) -> None:
        """Close the connections that wait."""
        for _, writer in self._idle:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        self._idle.clear()


async def _serve(port: int, stock: Stock) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stock.slow_down)
    server = await asyncio.start_server(stock.serve, "127.0.0.1", port, limit=MOST_BYTES)
    async with server:
        await server.serve_forever()


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--seed", type=int, default=None, help="For the noise.")
def main(port: int, seed: int | None) -> None:
    """Serve the demo's stock on the loopback interface."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # until the loop listens, it must not kill us
    stock = Stock(random.Random(seed))  # noqa: S311  (noise, not secrets)
    asyncio.run(_serve(port, stock))


if __name__ == "__main__":
    main()
