"""Where a journal can be: an SQLite file, or a PostgreSQL database."""

from typing import Protocol

from sqlalchemy import Engine

from actions.ports import Permanent
from rollbackd.store.postgresql import BACKENDS, PostgresDatabase
from rollbackd.store.sqlite import SqliteDatabase


class Database(Protocol):
    """A place for a journal.

    ``name`` is for people and holds no secret; ``is_shared`` tells whether several processes may
    have it open for writing, of which the fence lets one write.
    """

    name: str
    is_shared: bool

    def claim(self) -> None:
        """Keep other processes out where only one may write. Raises Permanent when one is in."""

    def release(self) -> None:
        """Let the next one in; idempotent."""

    def reading_engine(self) -> Engine:
        """Return an engine that cannot write. Raises Permanent when there is nothing to read."""

    def writing_engine(self) -> Engine:
        """Return an engine whose commits are on disk when they return."""

    def refuse_unwritable(self) -> None:
        """Say at start, not at the first append, what is known not to be writable."""


def database(url: str) -> Database:
    """Return what a URL names.

    Args:
        url: ``sqlite:///path``, or ``postgresql://user:password@host:port/database``.

    Raises:
        Permanent: it names neither; what it says is not repeated, it may hold a password.
    """
    backend = url.partition(":")[0].partition("+")[0]
    if backend in BACKENDS:
        return PostgresDatabase(url)
    if backend == "sqlite":
        return SqliteDatabase(url)
    raise Permanent(
        "the journal's address is not a database URL that is supported; write "
        "sqlite:///path/to/file or postgresql://user:password@host:5432/database"
    )
