"""Servers that many tests share; each worker has its own."""

from collections.abc import Iterator

import pytest

from tests.servers.postgres import PostgresServer


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(_postgres: PostgresServer) -> PostgresServer:
    """Return a running PostgreSQL, whatever the test before did to it."""
    _postgres.start()
    return _postgres
