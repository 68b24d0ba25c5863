"""The schema's life: up from every revision with its data, and never down to meet newer files."""

import io
import sqlite3
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from actions.ports import Entry, Permanent
from rollbackd.store import JournalReader, SqlJournal
from rollbackd.store.postgresql import PostgresDatabase
from rollbackd.store.tables import HEAD, KNOWN, metadata
from rollbackd.store.upgrade import alembic_config, upgrade
from tests.servers.postgres import PostgresServer


def test_the_code_knows_every_migration() -> None:
    scripts = ScriptDirectory.from_config(alembic_config())
    assert scripts.get_current_head() == HEAD
    assert tuple(reversed([s.revision for s in scripts.walk_revisions()])) == KNOWN


def test_the_tables_are_what_the_migrations_make(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    SqlJournal.open(f"sqlite:///{path}").close()
    made = inspect(create_engine(f"sqlite:///{path}"))
    for table in metadata.tables.values():
        columns = {
            c["name"]: (str(c["type"]), c["nullable"]) for c in made.get_columns(table.name)
        }
        expected = {
            "INTEGER" if c.name == "seq" else str(c.type): c.nullable for c in table.columns
        }
        assert list(columns) == [c.name for c in table.columns]
        assert set(columns.values()) <= set(expected.items())


@pytest.mark.parametrize("revision", KNOWN)
def test_a_journal_of_any_revision_is_upgraded_with_what_it_holds(
    tmp_path: Path, revision: str
) -> None:
    path = tmp_path / "j.db"
    upgrade(create_engine(f"sqlite:///{path}"), to=revision)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO entries (at, watch_id, kind, key, data) VALUES (1.0, 'w', 'plan', '', '{}')"
        )
    connection.close()
    with JournalReader.open(f"sqlite:///{path}") as reader:  # status before the daemon's start
        assert [e.kind for e in reader.entries()] == ["plan"]
    with SqlJournal.open(f"sqlite:///{path}") as journal:
        assert journal.append(Entry(2.0, "w", "step-done", "k", {})) == 2
        assert [e.kind for e in journal.entries()] == ["plan", "step-done"]
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            (HEAD,)
        ]
    connection.close()


@pytest.mark.parametrize("opener", [SqlJournal.open, JournalReader.open])
def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path, opener: type) -> None:
    path = tmp_path / "j.db"
    SqlJournal.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Permanent, match=r"has schema 0999.*newer version.*Nothing was changed"):
        opener(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_failing_migration_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    upgrade(create_engine(f"sqlite:///{path}"), to="0001")
    with sqlite3.connect(path) as connection:
        # 0002 makes its table, then stumbles over a trigger that is there already.
        connection.execute(
            "CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries BEGIN SELECT 1; END"
        )
    connection.close()
    with pytest.raises(Exception, match="The schema is as it was"):
        SqlJournal.open(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        tables = {n for (n,) in connection.execute("SELECT name FROM sqlite_master")}
        assert "prune_permits" not in tables
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [
            ("0001",)
        ]
    connection.close()


@pytest.mark.servers
@pytest.mark.parametrize("revision", KNOWN)
def test_postgresql_is_upgraded_from_any_revision_with_what_it_holds(
    postgres: PostgresServer, revision: str
) -> None:
    url = postgres.fresh()
    place = PostgresDatabase(url)
    engine = place.writing_engine()
    upgrade(engine, to=revision)
    engine.dispose()
    postgres.execute(
        "INSERT INTO entries (at, watch_id, kind, key, data) VALUES (1.0, 'w', 'plan', '', '{}')",
        url,
    )
    with JournalReader.open(url) as reader:  # status before the daemon's start
        assert [e.kind for e in reader.entries()] == ["plan"]
    with SqlJournal.open(url) as journal:
        journal.take_pen()
        assert journal.append(Entry(2.0, "w", "step-done", "k", {})) == 2
        made = inspect(journal.engine)
        for table in metadata.tables.values():
            assert [c["name"] for c in made.get_columns(table.name)] == list(table.columns.keys())


def test_the_migrations_are_sql_for_postgresql_too() -> None:
    config = alembic_config()
    config.attributes["dialect"] = "postgresql"
    printed = io.StringIO()
    config.output_buffer = printed
    with redirect_stdout(printed):
        command.upgrade(config, "head", sql=True)
    sql = printed.getvalue()
    assert "seq BIGSERIAL NOT NULL" in sql
    assert "CREATE TRIGGER entries_no_truncate BEFORE TRUNCATE" in sql
    assert "RAISE(ABORT" not in sql
