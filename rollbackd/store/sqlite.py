"""What is particular to SQLite: opening the file, durability, and one writer at a time."""

import fcntl
import os
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from actions.ports import Permanent

BUSY_TIMEOUT_S = 5.0
"""How long a statement waits for a lock that a foreign process (a backup, a shell) holds."""


class SqliteDatabase:
    """An SQLite file as a place for a journal: one process may have it open for writing.

    Args:
        url: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

    Raises:
        Permanent: the URL is not one of an SQLite file.
    """

    is_shared = False

    def __init__(self, url: str) -> None:
        self._path = database_path(url)
        self._lock = WriterLock(self._path)
        self.name = str(self._path)

    def claim(self) -> None:
        """Keep every other process from writing. Raises Permanent when one has the file open."""
        self._lock.acquire()

    def release(self) -> None:
        """Let the next one in; idempotent."""
        self._lock.release()

    def reading_engine(self) -> Engine:
        """Return an engine that cannot write. Raises Permanent when there is no such file."""
        if not self._path.is_file():
            raise Permanent(f"journal {self.name}: there is no such file; has rollbackd run here?")
        return reading_engine(self._path)

    def writing_engine(self) -> Engine:
        """Return an engine whose commits are on disk when they return."""
        return writing_engine(self._path)

    def refuse_unwritable(self) -> None:
        """Say so at start, not at the first append, when the file exists and cannot be written."""
        try:
            with self._path.open("ab"):
                pass
        except OSError as error:
            raise Permanent(
                f"journal {self.name} cannot be written ({error.strerror}); nothing was changed. "
                "Make the file and its directory writable for this user."
            ) from error


def database_path(url: str) -> Path:
    """Return the file that an ``sqlite:///`` URL names.

    Raises:
        Permanent: the URL is not one of an SQLite file.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Permanent(f"{url!r} is not a database URL; write sqlite:///path/to/file") from error
    if parsed.database in {None, "", ":memory:"}:
        raise Permanent(
            "a journal in memory would forget everything; write sqlite:///path/to/file"
        )
    return Path(str(parsed.database))


def writing_engine(path: Path) -> Engine:
    """Return an engine whose commits are on disk when they return.

    Transactions that write ask for it by the execution option ``writes=True``.
    WAL lets readers go on while we write. ``synchronous=FULL`` syncs the log at every commit:
    NORMAL would lose the last commits on a power cut, and a step that was STARTED must not be
    forgotten.
    """
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: SqliteConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is covered, too
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA recursive_triggers=ON")  # REPLACE fires the delete trigger

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # IMMEDIATE takes the write lock first: a transaction that only finds out at its first
        # write that the file is locked cannot wait, it must fail.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def reading_engine(path: Path) -> Engine:
    """Return an engine that cannot write; the file must exist."""
    mode = "mode=ro"
    log = path.with_name(path.name + "-wal")
    if not log.exists() and not os.access(path.parent, os.W_OK, effective_ids=True):
        # Reading a WAL file needs its shared-memory file, which we could not create here; without
        # a log nobody is writing, and the file can be read as it lies.
        mode = "immutable=1"
    engine = create_engine(
        f"sqlite:///file:{quote(str(path.absolute()))}?{mode}&uri=true",
        connect_args={"timeout": BUSY_TIMEOUT_S},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: SqliteConnection, _record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


class WriterLock:
    """An OS lock on ``<file>.lock``: one writing process for a file; gone when it dies.

    SQLite's own locks last for a transaction only, and would let two daemons take turns.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = database.with_name(database.name + ".lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or refuse.

        Raises:
            Permanent: another process holds it, or the lock file cannot be made.
        """
        database = self._database
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Permanent(
                f"journal {database}: cannot create {self._path.name} beside it "
                f"({error.strerror}); nothing was changed. "
                "Make the directory exist and be writable for this user."
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise Permanent(
                f"journal {database} is open for writing in process {holder}; only one rollbackd "
                "may write a file. Nothing was changed. Stop the other one, give this one a "
                "journal.url of its own, or keep the journal in PostgreSQL, which several "
                "replicas may share."
            ) from error
        except OSError as error:
            os.close(fd)
            raise Permanent(
                f"journal {database}: the file system cannot lock files ({error.strerror}); "
                "nothing was changed. Put the journal on a local disk."
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Let the next one in; idempotent. The lock file stays: removing it would race."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
