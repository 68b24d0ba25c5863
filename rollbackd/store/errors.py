"""The database's errors, translated into the reaction they ask for."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from actions.ports import ActionError, Permanent, Transient

_TRANSIENT = {
    sqlite3.SQLITE_BUSY: "another program holds its lock; it will be tried again",
    sqlite3.SQLITE_LOCKED: "another program holds its lock; it will be tried again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "the disk did not answer as it should; look at the system's log",
}
_PERMANENT = {
    sqlite3.SQLITE_READONLY: "it cannot be written; make file and directory writable for this user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the path and the rights on it",
    sqlite3.SQLITE_PERM: "this user may not open it; check the rights on it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, or restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database; move it away, or name another one",
}


def translate(error: SQLAlchemyError, name: str, kept: str) -> ActionError:
    """Return the error to raise instead, with what was kept and what to do.

    Args:
        error: what SQLAlchemy raised.
        name: the journal, for people.
        kept: what the journal holds now, such as "nothing was written".
    """
    if isinstance(error, DBAPIError):
        cause: BaseException | None = error.orig
        # Extended codes carry the primary one in their low byte.
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        if code in _PERMANENT:
            return Permanent(f"journal {name}: {_PERMANENT[code]} ({cause}). {kept}")
        if code in _TRANSIENT:
            return Transient(f"journal {name}: {_TRANSIENT[code]} ({cause}). {kept}")
        return Transient(f"journal {name}: {cause}. {kept}")
    return Transient(f"journal {name}: {error}. {kept}")


@contextmanager
def translated(name: str, kept: str) -> Iterator[None]:
    """Raise Transient or Permanent for whatever the database raises inside."""
    try:
        yield
    except SQLAlchemyError as error:
        raise translate(error, name, kept) from error
