"""The one writer of the journal."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Self

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from actions.ports import Entry, Fenced, Permanent, Transient
from rollbackd.store.database import Database, database
from rollbackd.store.errors import passing, translate, translated
from rollbackd.store.reader import JournalReader, revision
from rollbackd.store.tables import HEAD, entries, fence, prune_permits

_NOTHING = "Nothing was written."
_UNKNOWN = "The connection broke in the middle of the commit: whether it was written is unknown."

LOOK_AGAIN_S = 5.0
"""How long a commit whose answer was lost is looked for before it counts as unknown."""
_LOOK_PAUSE_S = 0.2


def _always() -> None:
    """Permit: there is nobody else."""


class SqlJournal(JournalReader):
    """The append-only record in a database; implements ``actions.ports.Journal``.

    An ``append`` that returned is on disk. All methods may be called from any thread.

    Many processes may have a PostgreSQL database open, and one may write: the one that called
    ``take_pen`` last. Its token is compared in the transaction of each append, under a lock, so
    whoever takes the pen has seen everything that any earlier writer ever wrote. An SQLite file
    has one process anyway, which has the pen from the start.
    """

    def __init__(self, engine: Engine, place: Database) -> None:
        super().__init__(engine, place.name)
        self._writer = engine.execution_options(writes=True)
        self._place = place
        self._token: int | None = None
        self.is_fenced = False
        """Whether an append found that another process had taken the pen from this one."""
        # One append at a time: threads would otherwise poll for the lock, and starve.
        self._writing = Lock()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a journal for writing; create it, or bring its schema up to date, when needed.

        Args:
            url: as ``database`` takes it.

        Raises:
            Permanent: another process writes it, it cannot be written, it is damaged, no journal,
                or newer than this code. It is as it was.
            Transient: the disk is full or failing, the server cannot be reached.
        """
        place = database(url)
        place.claim()
        engine = place.writing_engine()
        try:
            place.refuse_unwritable()
            if revision(engine, place.name) != HEAD:
                # Alembic takes half a second to import, and is needed on the first start only.
                from rollbackd.store.upgrade import upgrade  # noqa: PLC0415

                with translated(place.name, "The schema is as it was."):
                    upgrade(engine)
            journal = cls(engine, place)
            if not place.is_shared:
                journal.take_pen()
        except BaseException:
            engine.dispose()
            place.release()
            raise
        return journal

    @property
    def is_shared(self) -> bool:
        """Whether several processes may have it open, so that a leader must be elected."""
        return self._place.is_shared

    @property
    def engine(self) -> Engine:
        """The connections, for what else is kept in the same database."""
        return self._writer

    def take_pen(self, permit: Callable[[], None] = _always) -> int:
        """Become the one process that may append; return the token that says so.

        Args:
            permit: raises Fenced when this process does not lead any more. It is asked between
                the look at the fence and its raising: whoever slept for too long in between finds
                that it was raised by the next leader, and takes nothing from it.

        Raises:
            Fenced: this process does not lead, or another was quicker. Transient: the store cannot
                be reached. Whoever had the pen has it still, unless another took it.
        """
        with self._writing, passing(self._name, _NOTHING):
            with self._engine.connect() as connection:
                seen: int = connection.scalars(select(fence.c.token)).one()
            permit()
            raised = update(fence).where(fence.c.token == seen).values(token=seen + 1)
            with self._writer.begin() as connection:
                if connection.execute(raised).rowcount != 1:
                    raise Fenced(f"journal {self._name}: another process took the pen just now")
            self._token, self.is_fenced = seen + 1, False
        return seen + 1

    def append(self, *entries_: Entry) -> int:
        """Write entries in one transaction, all or none; return the last sequence number.

        Raises:
            Transient: the store does not take them now, nothing was written (or, rarely, as the
                message says, that is unknown). Fenced: another process took the pen.
                Permanent: an entry does not hold plain JSON values. Nothing was written.
        """
        rows = [_row(entry) for entry in entries_]
        last: int | None = None
        with self._writing:
            try:
                with self._writer.begin() as connection:
                    self._check_pen(connection)
                    if rows:
                        connection.execute(insert(entries), rows)
                    last = connection.scalar(select(func.max(entries.c.seq))) or 0
            except SQLAlchemyError as error:
                if last is None or not rows:
                    raise Transient(str(translate(error, self._name, _NOTHING))) from error
                if not self._was_written(last, rows[-1], error):
                    raise Transient(str(translate(error, self._name, _NOTHING))) from error
        return last

    def _check_pen(self, connection: Connection) -> None:
        """Hold the fence until the transaction ends, and see that nobody raised it.

        Raises:
            Fenced: this process has not got the pen, or has it no more.
        """
        token = connection.scalar(select(fence.c.token).with_for_update())
        if token != self._token:
            self.is_fenced = self._token is not None
            mine = "never had it" if self._token is None else f"had number {self._token}"
            raise Fenced(
                f"journal {self._name}: another process leads (it has the pen number {token}, "
                f"this one {mine}). {_NOTHING}"
            )

    def _was_written(self, last: int, row: Mapping[str, Any], error: SQLAlchemyError) -> bool:
        """Look whether a commit whose answer was lost took place.

        A sequence number is never given twice on PostgreSQL, and on SQLite not while we hold
        ``_writing``; so the row under the last number tells.

        Raises:
            Transient: the store stays away.
        """
        end = time.monotonic() + LOOK_AGAIN_S
        wanted = select(entries).where(entries.c.seq == last)
        while True:
            try:
                with self._engine.connect() as connection:
                    found = connection.execute(wanted).mappings().one_or_none()
            except SQLAlchemyError:
                if time.monotonic() > end:
                    raise Transient(str(translate(error, self._name, _UNKNOWN))) from error
                time.sleep(_LOOK_PAUSE_S)
            else:
                return found is not None and {**row, "seq": last} == dict(found)

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
            Transient, Fenced: as ``append``; then everything is still there.
        """
        with self._writing, passing(self._name, _NOTHING), self._writer.begin() as connection:
            self._check_pen(connection)
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
        """Release the database and let another process write it; idempotent."""
        super().close()
        self._place.release()


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
