"""A name server whose answers a test decides; stands for those of a provider."""

import socket
from collections.abc import Callable
from threading import Thread
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from actions.dns.authority import Nameserver
from actions.dns.record import canonical

Answers = Callable[[str, str], tuple[str, ...]]
"""The values of a name and type."""


class StubNameserver:
    """Answers UDP questions by a function; use it as a context manager."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        port: int = self._socket.getsockname()[1]
        self.server = Nameserver("stub", "127.0.0.1", port)
        self._thread = Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            wire, who = self._socket.recvfrom(4096)
            if not wire:
                return
            question = dns.message.from_wire(wire)
            asked = question.question[0]
            type_ = dns.rdatatype.to_text(asked.rdtype)
            answer = dns.message.make_response(question)
            answer.flags |= dns.flags.AA
            values = self.answers(canonical(str(asked.name)), type_)
            if values:
                answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", type_, *values))
            self._socket.sendto(answer.to_wire(), who)
