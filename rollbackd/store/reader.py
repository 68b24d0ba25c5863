"""Reading the journal: the writer's other half, and all that ``status`` and ``explain`` need."""

import json
from collections.abc import Iterator
from typing import Self

from sqlalchemy import Engine, Row, Select, func, inspect, select

from actions.ports import Entry, Permanent
from rollbackd.store.database import database
from rollbackd.store.errors import translated
from rollbackd.store.tables import HEAD, KNOWN, entries, schema_version

PAGE = 500
"""Entries read at once. Between pages nothing is held open, so that a slow consumer neither keeps
the log from shrinking nor a connection from others."""

_INTACT = "The journal was only read."


FOR_PEOPLE = (
    "watch", "decision", "plan", "refusal", "step-started", "step-done", "step-failed", "release",
    "hold", "facts",
)  # fmt: skip
"""Kinds of entries that tell of a course of events; the others are for a restart and a replay."""


class JournalReader:
    """A journal that can be read at any time, by any number of processes."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._name = name

    @classmethod
    def open(cls, url: str) -> Self:
        """Open an existing journal read-only; nothing is created or upgraded.

        Args:
            url: as ``database`` takes it.

        Raises:
            Permanent: there is no such file, it is no journal, or it is newer than this code.
            Transient: it cannot be read now.
        """
        place = database(url)
        engine = place.reading_engine()
        try:
            found = revision(engine, place.name)
        except BaseException:
            engine.dispose()
            raise
        if found is None:
            engine.dispose()
            raise Permanent(f"journal {place.name}: it is empty; has rollbackd run here?")
        return cls(engine, place.name)

    def entries(
        self, *, watch_id: str | None = None, kinds: frozenset[str] | None = None, after: int = 0
    ) -> Iterator[Entry]:
        """Yield entries in order of their sequence number, a page at a time.

        Ends with the newest entry there was at the start; later ones have higher numbers.

        Raises:
            Transient: the store cannot be reached. Permanent: it is damaged.
        """
        wanted = select(entries).order_by(entries.c.seq).limit(PAGE)
        if watch_id is not None:
            wanted = wanted.where(entries.c.watch_id == watch_id)
        if kinds is not None:
            wanted = wanted.where(entries.c.kind.in_(sorted(kinds)))
        with translated(self._name, _INTACT), self._engine.connect() as connection:
            last: int = connection.scalar(select(func.max(entries.c.seq))) or 0
        while True:
            page = self._read(wanted.where(entries.c.seq > after, entries.c.seq <= last))
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].seq

    def newest(
        self, limit: int, *, watch: str = "", kind: str = "", before: int | None = None
    ) -> list[Entry]:
        """Return the newest entries that fit, the newest first. Raises as ``entries``.

        Args:
            limit: how many at most.
            watch: part of the watch's id.
            kind: exactly this kind; "" is any.
            before: only entries with lower sequence numbers.
        """
        wanted = select(entries).order_by(entries.c.seq.desc()).limit(limit)
        if watch:
            wanted = wanted.where(entries.c.watch_id.contains(watch, autoescape=True))
        if kind:
            wanted = wanted.where(entries.c.kind == kind)
        if before is not None:
            wanted = wanted.where(entries.c.seq < before)
        return self._read(wanted)

    def course(self, watch_id: str, limit: int) -> list[Entry]:
        """Return the newest entries of a watch that people can read, the newest first.

        Raises as ``entries``.
        """
        wanted = select(entries).order_by(entries.c.seq.desc()).limit(limit)
        return self._read(
            wanted.where(entries.c.watch_id == watch_id, entries.c.kind.in_(FOR_PEOPLE))
        )

    def latest(self, kind: str) -> dict[str, Entry]:
        """Return the newest entry of a kind for each watch. Raises as ``entries``."""
        newest = (
            select(func.max(entries.c.seq))
            .where(entries.c.kind == kind)
            .group_by(entries.c.watch_id)
        )
        found = self._read(select(entries).where(entries.c.seq.in_(newest)))
        return {entry.watch_id: entry for entry in found}

    def close(self) -> None:
        """Release the database; idempotent."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close."""
        self.close()

    def _read(self, query: Select[tuple[object, ...]]) -> list[Entry]:
        with translated(self._name, _INTACT), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [self._entry(row) for row in rows]

    def _entry(self, row: Row[tuple[object, ...]]) -> Entry:
        try:
            data = json.loads(row.data)
        except ValueError as error:
            raise Permanent(
                f"journal {self._name}: entry {row.seq} does not hold JSON; it was damaged "
                f"or written by something else. {_INTACT}"
            ) from error
        return Entry(row.at, row.watch_id, row.kind, row.key, data, row.seq)


def revision(engine: Engine, name: str) -> str | None:
    """Return the schema's revision, or None for a new, empty database.

    Raises:
        Permanent: the database is not a journal, or one that is newer than this code.
        Transient: it cannot be read now.
    """
    with translated(name, _INTACT), engine.connect() as connection:
        tables = inspect(connection).get_table_names()
        if not tables:
            return None
        if not {entries.name, schema_version.name} <= set(tables):
            raise Permanent(
                f"journal {name} is a database of something else (tables: "
                f"{', '.join(sorted(tables)[:5])}); nothing was changed. Name another one."
            )
        found = connection.scalar(select(schema_version.c.version_num))
    if found not in KNOWN:
        raise Permanent(
            f"journal {name} has schema {found}, and this rollbackd knows up to {HEAD}: it was "
            "written by a newer version. Nothing was changed. Run that version, or name another "
            "one."
        )
    return str(found)
