"""A TCP proxy that breaks a connection at the worst moment: after a request, before its answer."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class SeveringProxy:
    """Forwards connections to a port of this machine; use it as a context manager.

    ``sever_after``: once a client has sent these bytes, they are passed on, the client never hears
    of it, and the proxy lets nobody in until ``mend``.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self.sever_after = b""
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.severed = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def mend(self) -> None:
        """Let people in again."""
        self.sever_after = b""
        self.severed.clear()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.severed.is_set():
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            answers = threading.Thread(target=self._forward, args=(server, client), daemon=True)
            answers.start()
            self._forward(client, server, until=self._is_fatal)
            answers.join()

    def _is_fatal(self, part: bytes) -> bool:
        if self.sever_after and self.sever_after in part:
            self.severed.set()
        return self.severed.is_set()

    def _forward(
        self,
        one: socket.socket,
        other: socket.socket,
        until: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        with suppress(OSError):
            while part := one.recv(65536):
                over = until(part)
                if over:
                    one.shutdown(socket.SHUT_RDWR)
                other.sendall(part)
                if over:
                    break
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_WR if end is other else socket.SHUT_RDWR)
