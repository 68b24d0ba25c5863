"""The one writer of the journal."""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Self

from sqlalchemy import Engine, delete, func, insert, select

from actions.ports import Entry, Permanent
from rollbackd.store import sqlite
from rollbackd.store.errors import translated
from rollbackd.store.reader import JournalReader, revision
from rollbackd.store.tables import HEAD, entries, prune_permits

_NOTHING = "Nothing was written."


class SqlJournal(JournalReader):
    """The append-only record in a database; implements ``actions.ports.Journal``.

    An ``append`` that returned is on disk. Only one process may have a file open as SqlJournal;
    within it, all methods may be called from any thread.
    """

    def __init__(self, engine: Engine, name: str, lock: sqlite.WriterLock) -> None:
        super().__init__(engine, name)
        self._writer = engine.execution_options(writes=True)
        self._lock = lock
        # One append at a time: threads would otherwise poll for SQLite's lock, and starve.
        self._writing = Lock()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a journal for writing; create it, or bring its schema up to date, when needed.

        Args:
            url: ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

        Raises:
            Permanent: another process writes it, it cannot be written, it is damaged, no journal,
                or newer than this code. The file is as it was.
            Transient: the disk is full or failing.
        """
        path = sqlite.database_path(url)
        lock = sqlite.WriterLock(path)
        lock.acquire()
        engine = sqlite.writing_engine(path)
        try:
            _refuse_unwritable(path)
            if revision(engine, path) != HEAD:
                # Alembic takes half a second to import, and is needed on the first start only.
                from rollbackd.store.upgrade import upgrade  # noqa: PLC0415

                with translated(str(path), "The schema is as it was."):
                    upgrade(engine)
        except BaseException:
            engine.dispose()
            lock.release()
            raise
        return cls(engine, str(path), lock)

    def append(self, *entries_: Entry) -> int:
        """Write entries in one transaction, all or none; return the last sequence number.

        Raises:
            Transient: the store cannot be reached now. Permanent: it cannot be written at all, or
                an entry does not hold plain JSON values. Nothing was written in either case.
        """
        rows = [_row(entry) for entry in entries_]
        with self._writing, translated(self._name, _NOTHING), self._writer.begin() as connection:
            if rows:
                connection.execute(insert(entries), rows)
            return connection.scalar(select(func.max(entries.c.seq))) or 0

    def prune(self, watch_ids: Sequence[str], *, before: float, now: float) -> int:
        """Forget watches that are over; the only way anything ever leaves the journal.

        Whether a watch is final is for the caller to know. A watch with any entry at or after
        ``before`` is kept whole. What was forgotten is recorded as an entry of kind ``daemon``.

        Args:
            watch_ids: watches in a final phase.
            before: seconds since the epoch; the newest entry of the watch must be older.
            now: seconds since the epoch, the time of the record.

        Returns:
            How many entries were deleted.

        Raises:
            Transient or Permanent, as ``append``; then everything is still there.
        """
        with self._writing, translated(self._name, _NOTHING), self._writer.begin() as connection:
            deleted = 0
            forgotten = []
            for watch_id in watch_ids:
                of_watch = entries.c.watch_id == watch_id
                newest = connection.scalar(select(func.max(entries.c.at)).where(of_watch))
                if not watch_id or newest is None or newest >= before:
                    continue
                connection.execute(insert(prune_permits), {"watch_id": watch_id})
                deleted += connection.execute(delete(entries).where(of_watch)).rowcount
                forgotten.append(watch_id)
            connection.execute(delete(prune_permits))
            if forgotten:
                record = {"event": "pruned", "watches": forgotten, "entries": deleted}
                row = _row(Entry(now, "", "daemon", "", record))
                connection.execute(insert(entries), row)
            return deleted

    def close(self) -> None:
        """Release the file and let another process write it; idempotent."""
        super().close()
        self._lock.release()


def _row(entry: Entry) -> dict[str, Any]:
    try:
        data = json.dumps(entry.data, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise Permanent(
            f"a journal entry of kind {entry.kind!r} does not hold plain JSON values ({error}). "
            f"{_NOTHING}"
        ) from error
    return {
        "at": entry.at,
        "watch_id": entry.watch_id,
        "kind": entry.kind,
        "key": entry.key,
        "data": data,
    }


def _refuse_unwritable(path: Path) -> None:
    """Say so at start, not at the first append, when the file exists and cannot be written."""
    try:
        with path.open("ab"):
            pass
    except OSError as error:
        raise Permanent(
            f"journal {path} cannot be written ({error.strerror}); nothing was changed. "
            "Make the file and its directory writable for this user."
        ) from error
