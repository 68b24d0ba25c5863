"""What is particular to PostgreSQL: reading its address, connections that cannot hang, no secrets.

The address (DSN) holds a password, so neither it nor anything made from it stands in a message.
"""

from collections.abc import Mapping
from importlib.util import find_spec

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from actions.ports import Permanent

BACKENDS = frozenset({"postgresql", "postgres"})

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 15
"""No statement of ours takes a second; one that does hangs, and a tick with it."""
LOCK_TIMEOUT_S = 5
SILENCE_S = 10
"""A server that does not acknowledge what was sent for so long counts as gone."""

_HINT = "write postgresql://user:password@host:5432/database, with %-escapes in user and password"
_OPTIONS = {
    "statement_timeout": STATEMENT_TIMEOUT_S * 1000,
    "lock_timeout": LOCK_TIMEOUT_S * 1000,
    # Who holds the lock on the fence and is gone must not keep the next leader out.
    "idle_in_transaction_session_timeout": STATEMENT_TIMEOUT_S * 1000,
}
_LIBPQ = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "application_name": "rollbackd",
    "keepalives_idle": SILENCE_S,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": SILENCE_S * 1000,
}


class PostgresDatabase:
    """A PostgreSQL database as a place for a journal; several processes may open it.

    Args:
        url: as ``database`` was given it.

    Raises:
        Permanent: it is no address of a database, or the driver is not installed.
    """

    is_shared = True

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        if find_spec("psycopg") is None:
            raise Permanent(
                "a journal in PostgreSQL needs psycopg; install rollbackd[postgres]. "
                "Nothing was changed."
            )
        host = self._url.host or _first(self._url.query.get("host", ())) or "the local socket"
        port = f":{self._url.port}" if self._url.port else ""
        self.name = f"{self._url.database or 'of the default name'} on {host}{port} (PostgreSQL)"

    def claim(self) -> None:
        """Allow several processes: which of them may write, the fence says."""

    def release(self) -> None:
        """Hold nothing."""

    def writing_engine(self) -> Engine:
        """Return an engine whose commits are on disk when they return."""
        return self._engine(_OPTIONS)

    def reading_engine(self) -> Engine:
        """Return an engine that cannot write."""
        return self._engine({**_OPTIONS, "default_transaction_read_only": "on"})

    def refuse_unwritable(self) -> None:
        """Leave it to the first statement: only the server knows."""

    def _engine(self, options: Mapping[str, object]) -> Engine:
        given = _first(self._url.query.get("options", ()))
        said = " ".join(
            [*([given] if given else []), *(f"-c {k}={v}" for k, v in options.items())]
        )
        return create_engine(
            self._url,
            connect_args={**_LIBPQ, "options": said},
            # A connection that broke while it was idle is noticed and replaced, not used.
            pool_pre_ping=True,
            pool_timeout=CONNECT_TIMEOUT_S,
            hide_parameters=True,
        )


def _parsed(url: str) -> URL:
    """Return the address with our driver; the errors of the parser would quote the password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise Permanent(f"the journal's address cannot be read: {_HINT}") from None
    if {"@", "/"} & set(parsed.database or ""):
        raise Permanent(f"the journal's address cannot be read: {_HINT}")
    return parsed.set(drivername="postgresql+psycopg")


def _first(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else next(iter(value), "")
