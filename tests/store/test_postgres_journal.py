"""The PostgreSQL journal in trouble: rival writers, outages, lost answers, and its password."""

import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.ports import ActionError, Entry, Fenced, Permanent, Transient
from rollbackd.store import JournalReader, SqlJournal
from rollbackd.store import journal as journal_module
from tests.servers.postgres import PASSWORD, PostgresServer
from tests.servers.severing_proxy import SeveringProxy

pytestmark = pytest.mark.servers


def entry(n: int = 0, watch_id: str = "w", at: float = 1.0) -> Entry:
    return Entry(at, watch_id, "watch", "", {"n": n})


def numbers(journal: JournalReader) -> list[int]:
    return [e.data["n"] for e in journal.entries()]


# One pen


def test_only_who_took_the_pen_last_writes(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    with SqlJournal.open(url) as one, SqlJournal.open(url) as other:
        with pytest.raises(Fenced, match="never had it"):
            one.append(entry())
        assert one.take_pen() == 1
        one.append(entry(1))
        assert other.take_pen() == 2
        assert numbers(other) == [1]
        fenced = r"another process leads.*number 2.*number 1"
        with pytest.raises(Fenced, match=fenced):
            one.append(entry(2))
        with pytest.raises(Fenced, match=fenced):
            one.prune(["w"], before=9, now=9)
        other.append(entry(3))
        assert numbers(one) == [1, 3]


def test_who_does_not_lead_any_more_takes_nothing_from_the_next(postgres: PostgresServer) -> None:
    """The first sleeps between its election and the pen, and wakes when the second writes."""
    url = postgres.fresh()
    with SqlJournal.open(url) as slow, SqlJournal.open(url) as quick:

        def sleep() -> None:
            quick.take_pen()

        with pytest.raises(Fenced, match="took the pen just now"):
            slow.take_pen(sleep)
        quick.append(entry(1))
        with pytest.raises(Fenced):
            slow.append(entry(2))

        def refuse() -> None:
            raise Fenced("the lease is over")

        with pytest.raises(Fenced, match="the lease is over"):
            slow.take_pen(refuse)
        quick.append(entry(3))
        assert numbers(quick) == [1, 3]


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(turns=st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=12))
def test_whatever_the_order_what_a_new_writer_read_is_all_there_ever_was(
    postgres: PostgresServer, turns: list[tuple[int, bool]]
) -> None:
    url = postgres.fresh()
    replicas = [SqlJournal.open(url) for _ in range(3)]
    holder, written = -1, 0
    try:
        for who, takes in turns:
            if takes:
                replicas[who].take_pen()
                holder = who
                assert len(numbers(replicas[who])) == written
            elif who == holder:
                replicas[who].append(entry(written))
                written += 1
            else:
                with pytest.raises(Fenced):
                    replicas[who].append(entry(-1))
        assert numbers(replicas[0]) == list(range(written))
    finally:
        for replica in replicas:
            replica.close()


def test_appends_of_a_rival_wait_for_the_fence_and_find_it_raised(
    postgres: PostgresServer,
) -> None:
    url = postgres.fresh()
    with SqlJournal.open(url) as old, SqlJournal.open(url) as new:
        old.take_pen()
        stop = threading.Event()

        def write() -> int:
            count = 0
            while not stop.is_set():
                try:
                    old.append(entry(count))
                except Fenced:
                    return count
                count += 1
            raise AssertionError("never fenced")

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            while not numbers(new):
                time.sleep(0.01)
            new.take_pen()
            seen = numbers(new)
            assert writing.result(30) == len(seen)
        assert numbers(new) == seen == list(range(len(seen)))


# Append-only, kept by the database


@pytest.mark.parametrize(
    "change", ["UPDATE entries SET data = '{}'", "DELETE FROM entries", "TRUNCATE entries"]
)
def test_the_database_itself_refuses_to_forget(postgres: PostgresServer, change: str) -> None:
    url = postgres.fresh()
    with SqlJournal.open(url) as journal:
        journal.take_pen()
        journal.append(entry())
        with pytest.raises(Exception, match="the journal is append-only"):
            postgres.execute(change, url)
        assert numbers(journal) == [0]


def test_prune_forgets_old_watches_only_and_says_so(postgres: PostgresServer) -> None:
    with SqlJournal.open(postgres.fresh()) as journal:
        journal.take_pen()
        journal.append(entry(1, "old"), entry(2, "mixed"), entry(3, "mixed", at=50.0))
        assert journal.prune(["old", "mixed"], before=50.0, now=99.0) == 1
        assert [e.data.get("n") for e in journal.entries()] == [2, 3, None]
        assert journal.prune(["old"], before=50.0, now=99.0) == 0


# Outages


def test_an_outage_passes(postgres: PostgresServer) -> None:
    with SqlJournal.open(postgres.fresh()) as journal:
        journal.take_pen()
        journal.append(entry(0))
        postgres.stop()
        with pytest.raises(Transient, match="Nothing was written"):
            journal.append(entry(1))
        with pytest.raises(Transient, match="only read"):
            journal.latest("watch")
        postgres.start()
        journal.append(entry(2))
        assert numbers(journal) == [0, 2]


def test_killed_connections_are_replaced(postgres: PostgresServer) -> None:
    with SqlJournal.open(postgres.fresh()) as journal:
        journal.take_pen()
        for n in range(3):
            postgres.cut()
            journal.append(entry(n))
        stream = journal.entries()
        next(stream)
        postgres.cut()
        assert numbers(journal) == [0, 1, 2]


def test_a_connection_killed_within_the_transaction_writes_nothing(
    postgres: PostgresServer,
) -> None:
    url = postgres.fresh()
    with SqlJournal.open(url) as journal, SqlJournal.open(url) as holder:
        journal.take_pen()
        with holder.engine.begin() as connection, ThreadPoolExecutor(1) as pool:
            connection.exec_driver_sql("SELECT token FROM fence FOR UPDATE")
            waiting = pool.submit(journal.append, entry(1))
            locked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while postgres.execute(locked, url) == [(0,)]:
                time.sleep(0.01)
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted", url
            )
            with pytest.raises(Transient, match="Nothing was written"):
                waiting.result(30)
        assert numbers(journal) == []
        journal.append(entry(2))
        assert numbers(journal) == [2]


def test_a_commit_whose_answer_was_lost_is_found_written(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    with SeveringProxy(postgres.port) as proxy:
        through = postgres.url(url.rpartition("/")[2], port=proxy.port)
        with SqlJournal.open(through) as journal:
            journal.take_pen()
            journal.append(entry(0))
            proxy.sever_after = b"COMMIT"
            mending = threading.Timer(0.5, proxy.mend)
            mending.start()
            assert journal.append(entry(1)) == 2
            mending.join()
            assert numbers(journal) == [0, 1]


def test_a_lost_answer_of_a_server_that_stays_away_is_said_to_be_unknown(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "LOOK_AGAIN_S", 0.5)
    url = postgres.fresh()
    with SeveringProxy(postgres.port) as proxy:
        through = postgres.url(url.rpartition("/")[2], port=proxy.port)
        with SqlJournal.open(through) as journal:
            journal.take_pen()
            proxy.sever_after = b"COMMIT"
            with pytest.raises(Transient, match="whether it was written is unknown"):
                journal.append(entry(1))
            proxy.mend()
            journal.append(entry(2))
            assert numbers(journal) == [1, 2]


def test_a_standby_takes_no_writes_and_that_passes(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    with SqlJournal.open(url) as journal:
        journal.take_pen()
        name = url.rpartition("/")[2]
        postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        postgres.cut()
        with pytest.raises(Transient, match="is it a standby"):
            journal.append(entry())


# Start


def test_replicas_that_start_together_make_one_schema(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    with ThreadPoolExecutor(4) as pool:
        journals = list(pool.map(lambda _: SqlJournal.open(url), range(4)))
    journals[0].take_pen()
    assert journals[0].append(entry()) == 1
    for journal in journals:
        journal.close()
    assert postgres.execute("SELECT version_num FROM alembic_version", url) == [("0003",)]


def test_a_reader_changes_nothing_and_finds_no_journal_in_an_empty_database(
    postgres: PostgresServer,
) -> None:
    url = postgres.fresh()
    with pytest.raises(Permanent, match="it is empty; has rollbackd run here"):
        JournalReader.open(url)
    assert postgres.execute("SELECT tablename FROM pg_tables WHERE schemaname='public'", url) == []
    SqlJournal.open(url).close()
    with JournalReader.open(url) as reader:
        assert numbers(reader) == []
        with (
            reader._engine.begin() as connection,
            pytest.raises(Exception, match="read-only transaction"),
        ):
            connection.exec_driver_sql("UPDATE fence SET token = 9")


def test_a_database_of_something_else_is_refused(postgres: PostgresServer) -> None:
    url = postgres.fresh()
    postgres.execute("CREATE TABLE customers (id int)", url)
    with pytest.raises(Permanent, match=r"something else \(tables: customers\)"):
        SqlJournal.open(url)


# The password


def _no_such_database(server: PostgresServer) -> str:
    return server.url("nowhere")


def _wrong_password(server: PostgresServer) -> str:
    return server.url().replace("tester:", f"tester:{PASSWORD[:6]}")


def _unescaped(server: PostgresServer) -> str:
    return f"postgresql://tester:{PASSWORD}@127.0.0.1:{server.port}/db"


def _nobody_listens(server: PostgresServer) -> str:
    return server.url(port=1)


def _unknown_option(server: PostgresServer) -> str:
    return f"{server.url()}?passwort={PASSWORD[:6]}"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (_no_such_database, "does not exist"),
        (_wrong_password, "password authentication failed"),
        (_unescaped, "%-escapes in user and password"),
        (_nobody_listens, "refused"),
        (_unknown_option, "invalid"),
        (lambda _: f"mysql://u:{PASSWORD}@h/d", "is not a database URL that is supported"),
    ],
)
@pytest.mark.parametrize("opened", [SqlJournal.open, JournalReader.open])
def test_no_error_tells_the_password(
    postgres: PostgresServer,
    address: Callable[[PostgresServer], str],
    said: str,
    opened: Callable[[str], JournalReader],
) -> None:
    with pytest.raises(ActionError, match=said) as caught:
        opened(address(postgres))
    told = "".join(traceback.format_exception(caught.value))
    for part in (PASSWORD, "s3cret"):
        assert part not in told
