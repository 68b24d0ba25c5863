"""What all tests share: servers (each worker has its own), and how properties are searched.

A test run tries the same examples each time, so that it says something about the change it is run
for. ``pytest --hypothesis-profile search`` looks for new ones.
"""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.servers.postgres import PostgresServer

settings.register_profile("search", deadline=None)  # no test depends on how busy a machine is
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def _postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(_postgres: PostgresServer) -> PostgresServer:
    """Return a running PostgreSQL, whatever the test before did to it."""
    _postgres.start()
    return _postgres
