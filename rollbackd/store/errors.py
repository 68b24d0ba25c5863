"""The database's errors, translated into the reaction they ask for."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from actions.ports import ActionError, Permanent, Transient

_SQLITE_TRANSIENT = {
    sqlite3.SQLITE_BUSY: "another program holds its lock; it will be tried again",
    sqlite3.SQLITE_LOCKED: "another program holds its lock; it will be tried again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_IOERR: "the disk did not answer as it should; look at the system's log",
}
_SQLITE_PERMANENT = {
    sqlite3.SQLITE_READONLY: "it cannot be written; make file and directory writable for this user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check the path and the rights on it",
    sqlite3.SQLITE_PERM: "this user may not open it; check the rights on it",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; move it away, or restore it from a backup",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database; move it away, or name another one",
}
_POSTGRES_TRANSIENT = {
    "25006": "the server takes no writes; is it a standby?",
    "53": "the server has no resources left; look at its log",
    "55P03": "another session holds its lock; it will be tried again",
    "57014": "the server took too long",
}
_POSTGRES_PERMANENT = {
    "28": "the server does not let this user in; check user and password",
    "3D": "there is no such database; create it",
    "42501": "this user may not do that; make it the owner of the schema",
}
"""By SQLSTATE, or by its class, which is the first two characters."""


def translate(error: SQLAlchemyError, name: str, kept: str) -> ActionError:
    """Return the error to raise instead, with what was kept and what to do.

    Args:
        error: what SQLAlchemy raised.
        name: the journal, for people.
        kept: what the journal holds now, such as "nothing was written".
    """
    if not isinstance(error, DBAPIError):
        return Transient(f"journal {name}: {error}. {kept}")
    # Never the error itself: it quotes the statement with all values.
    cause = error.orig
    said = " ".join(str(cause).split())
    # Extended codes carry the primary one in their low byte.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_PERMANENT:
        return Permanent(f"journal {name}: {_SQLITE_PERMANENT[code]} ({said}). {kept}")
    if code in _SQLITE_TRANSIENT:
        return Transient(f"journal {name}: {_SQLITE_TRANSIENT[code]} ({said}). {kept}")
    state = getattr(cause, "sqlstate", None) or ""
    for known in (state, state[:2]):
        if known in _POSTGRES_PERMANENT:
            return Permanent(f"journal {name}: {_POSTGRES_PERMANENT[known]} ({said}). {kept}")
        if known in _POSTGRES_TRANSIENT:
            return Transient(f"journal {name}: {_POSTGRES_TRANSIENT[known]} ({said}). {kept}")
    return Transient(f"journal {name}: {said}. {kept}")


@contextmanager
def translated(name: str, kept: str) -> Iterator[None]:
    """Raise Transient or Permanent for whatever the database raises inside."""
    try:
        yield
    except SQLAlchemyError as error:
        raise translate(error, name, kept) from error


@contextmanager
def passing(name: str, kept: str) -> Iterator[None]:
    """Raise Transient for whatever the database raises inside.

    A store that refuses to be written says nothing about what was to be written: that stays as it
    was and is written once somebody has mended the store.
    """
    try:
        yield
    except SQLAlchemyError as error:
        raise Transient(str(translate(error, name, kept))) from error
