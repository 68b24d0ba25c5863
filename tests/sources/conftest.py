"""Servers that the tests of sources share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.sources.stub_server import Answer, Request, StubServer

UNHURRIED = settings(deadline=None)
"""For properties: how fast an example runs depends on who else uses the machine."""

Serve = Callable[[Callable[[Request], Answer]], StubServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a stub server; all end with the test."""
    with ExitStack() as servers:
        yield lambda answer: servers.enter_context(StubServer(answer))
