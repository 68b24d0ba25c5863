"""The SQLite journal in trouble: crashes, second writers, damage, full and read-only disks."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from actions.ports import Entry, Permanent, Transient
from rollbackd.store import JournalReader, SqlJournal


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def entry(n: int = 0, watch_id: str = "w", at: float = 1.0) -> Entry:
    return Entry(at, watch_id, "watch", "", {"n": n})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


APPENDS_FOR_EVER = """
import sys
from actions.ports import Entry
from rollbackd.store import SqlJournal
journal = SqlJournal.open(sys.argv[1])
n = max((e.data["n"] for e in journal.entries()), default=-1)
while True:
    n += 1
    journal.append(Entry(1.0, "w", "plan", "", {"n": n}), Entry(1.0, "w", "step-done", "", {"n": n}))
    print(n, flush=True)
"""


def test_kill_9_in_the_middle_of_appends_loses_nothing_acknowledged(path: Path) -> None:
    acknowledged = -1
    for round_ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", APPENDS_FOR_EVER, url(path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            first = int(child.stdout.readline())
            assert first > acknowledged
            time.sleep(0.05 + 0.037 * round_)  # in the middle of something, each time elsewhere
            child.send_signal(signal.SIGKILL)
            rest = child.stdout.read().splitlines()
            # a torn last line was never acknowledged to anybody
            acknowledged = max(first, *(int(line) for line in rest[:-1]), first)
        with JournalReader.open(url(path)) as reader:
            written = [(e.kind, e.data["n"]) for e in reader.entries()]
        pairs = [(kind, n) for n in range(len(written) // 2) for kind in ("plan", "step-done")]
        assert written == pairs  # all in order, no half of a transaction
        assert len(pairs) // 2 > acknowledged


def test_commits_are_synced_before_append_returns(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal, journal._writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_second_writing_process_is_refused(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry())
        script = "import sys; from rollbackd.store import SqlJournal; SqlJournal.open(sys.argv[1])"
        second = subprocess.run(
            [sys.executable, "-c", script, url(path)], capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert f"is open for writing in process {os.getpid()}" in second.stderr
        with pytest.raises(Permanent, match="is open for writing"):
            SqlJournal.open(url(path))
        journal.append(entry(1))  # the first one did not notice
    SqlJournal.open(url(path)).close()  # and then the way is free


def test_readers_come_and_go_beside_the_writer(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry(0))
        with JournalReader.open(url(path)) as reader:
            journal.append(entry(1))
            assert [e.data["n"] for e in reader.entries()] == [0, 1]
            assert reader.latest("watch")["w"].data == {"n": 1}
    with JournalReader.open(url(path)) as reader:
        assert len(list(reader.entries())) == 2


def test_a_reader_creates_nothing(path: Path) -> None:
    with pytest.raises(Permanent, match="no such file; has rollbackd run here"):
        JournalReader.open(url(path))
    path.touch()
    with pytest.raises(Permanent, match="it is empty"):
        JournalReader.open(url(path))
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET data = '{}'",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries VALUES (1, 2.0, 'w', 'plan', '', '{}')",
    ],
)
def test_the_database_itself_refuses_to_forget(path: Path, change: str) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry())
        with (
            journal._writer.begin() as connection,
            pytest.raises(Exception, match="the journal is append-only"),
        ):
            connection.exec_driver_sql(change)
        assert [e.data["n"] for e in journal.entries()] == [0]


def test_prune_forgets_old_watches_only_and_says_so(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry(1, "old"), entry(2, "mixed"), entry(3, "mixed", at=50.0))
        journal.append(entry(4, "old"), entry(5, "other"), entry(6, ""))
        assert journal.prune(["old", "mixed", "unknown", ""], before=50.0, now=99.0) == 2
        left = list(journal.entries())
        assert [e.data.get("n") for e in left] == [2, 3, 5, 6, None]
        assert left[-1] == Entry(
            99.0, "", "daemon", "", {"event": "pruned", "watches": ["old"], "entries": 2}, seq=7
        )
        assert journal.prune(["old"], before=50.0, now=99.0) == 0
        assert len(list(journal.entries())) == 5
        with (
            journal._writer.begin() as connection,
            pytest.raises(Exception, match="the journal is append-only"),
        ):
            connection.exec_driver_sql("DELETE FROM entries WHERE watch_id = 'old' OR 1")


def test_a_number_is_never_given_twice(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry(1, "old"))
        journal.prune(["old"], before=50.0, now=99.0)
        assert journal.append(entry(2)) == 3


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"tick: 10s\n" * 500)
    for opener in (SqlJournal.open, JournalReader.open):
        with pytest.raises(Permanent, match="not an SQLite database"):
            opener(url(path))
    assert path.read_bytes() == b"tick: 10s\n" * 500


def test_a_database_of_something_else_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customers (id)")
    connection.close()
    with pytest.raises(Permanent, match=r"something else \(tables: customers\)"):
        SqlJournal.open(url(path))


def test_a_damaged_file_is_told_apart_from_an_absent_one(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(*(entry(n) for n in range(2000)))
    with path.open("r+b") as file:
        file.seek(4096 * 6)
        file.write(os.urandom(4096 * 20))
    with (
        JournalReader.open(url(path)) as reader,
        pytest.raises(Permanent, match="the file is damaged"),
    ):
        list(reader.entries())


def test_a_full_disk_writes_nothing_and_passes(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry(0))
        pages = [100]

        @event.listens_for(journal._engine, "begin")
        def limit(connection: object) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages[0]}")  # type: ignore[attr-defined]

        big = Entry(1.0, "w", "evidence", "", {"text": "x" * 1_000_000})
        with pytest.raises(Transient, match=r"the disk is full.*Nothing was written"):
            journal.append(entry(1), big)
        assert [e.data["n"] for e in journal.entries()] == [0]
        pages[0] = 1_000_000
        journal.append(entry(1), big)
        assert len(list(journal.entries())) == 3


def test_a_store_that_becomes_read_only_loses_nothing_and_passes(path: Path) -> None:
    """It says nothing about the entry: what it was about stays as it was, and is tried again."""
    with SqlJournal.open(url(path)) as journal:
        query_only = [1]

        @event.listens_for(journal._engine, "checkout")
        def limit(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA query_only={query_only[0]}")

        with pytest.raises(Transient, match=r"cannot be written.*Nothing was written"):
            journal.append(entry(1))
        query_only[0] = 0
        assert journal.append(entry(2)) == 1


def test_a_lock_held_by_a_foreign_program_is_waited_for(path: Path) -> None:
    with SqlJournal.open(url(path)) as journal:
        foreign = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        foreign.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, lambda: foreign.execute("ROLLBACK"))
        timer.start()
        assert journal.append(entry()) == 1
        timer.join()
        foreign.close()


def test_a_lock_held_too_long_is_transient(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollbackd.store.sqlite.BUSY_TIMEOUT_S", 0.1)
    with SqlJournal.open(url(path)) as journal:
        foreign = sqlite3.connect(path, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        assert list(journal.entries()) == []  # readers do not wait
        with pytest.raises(Transient, match="another program holds its lock"):
            journal.append(entry())
        foreign.close()
        assert journal.append(entry()) == 1


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere: become somebody who may not."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def public_directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)
        Path(directory).chmod(0o755)


def test_a_read_only_directory_can_be_read_and_not_written(public_directory: Path) -> None:
    path = public_directory / "journal.db"
    with SqlJournal.open(url(path)) as journal:
        journal.append(entry(7))
    public_directory.chmod(0o555)
    with as_nobody():
        with pytest.raises(Permanent, match=r"journal.db.lock beside it \(Permission denied\)"):
            SqlJournal.open(url(path))
        with JournalReader.open(url(path)) as reader:
            assert [e.data["n"] for e in reader.entries()] == [7]


def test_a_file_that_may_not_be_written_is_refused_at_start(public_directory: Path) -> None:
    path = public_directory / "journal.db"
    SqlJournal.open(url(path)).close()
    path.chmod(0o444)
    (public_directory / "journal.db.lock").chmod(0o666)
    public_directory.chmod(0o777)
    with as_nobody(), pytest.raises(Permanent, match="cannot be written"):
        SqlJournal.open(url(path))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("sqlite://", "in memory would forget"),
        ("sqlite:///:memory:", "in memory would forget"),
        ("mysql://host/db", "is not a database URL that is supported"),
        ("rollbackd.db", "is not a database URL that is supported"),
        ("sqlite:////no/such/dir/j.db", r"cannot create j.db.lock beside it \(No such file"),
    ],
)
def test_urls_that_cannot_be_a_journal_are_refused(bad: str, message: str) -> None:
    with pytest.raises(Permanent, match=message):
        SqlJournal.open(bad)


def test_a_directory_is_no_journal(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Permanent, match=r"cannot be written \(Is a directory\)"):
        SqlJournal.open(url(path))
