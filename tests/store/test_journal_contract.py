"""What every journal promises; run over the fake and over the real one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actions.ports import Entry, Journal, Permanent
from rollbackd.store import SqlJournal
from tests.fakes.memory_journal import MemoryJournal
from tests.servers.postgres import PostgresServer


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    match request.param:
        case "memory":
            yield MemoryJournal()
        case "sqlite":
            with SqlJournal.open(f"sqlite:///{tmp_path}/journal.db") as opened:
                yield opened
        case _:
            server: PostgresServer = request.getfixturevalue("postgres")
            with SqlJournal.open(server.fresh()) as opened:
                opened.take_pen()
                yield opened


def entry(watch_id: str = "w", kind: str = "watch", at: float = 1.5, **data: object) -> Entry:
    return Entry(at=at, watch_id=watch_id, kind=kind, key="", data=data)


def test_an_empty_journal_has_nothing_to_say(journal: Journal) -> None:
    assert list(journal.entries()) == []
    assert journal.latest("watch") == {}


def test_entries_come_back_as_they_were_with_rising_numbers(journal: Journal) -> None:
    first = Entry(1700000000.25, "c/n/Deployment/w@v2", "plan", "k", {"a": [1, None, {"ü": 2.5}]})
    second = Entry(1.0, "", "daemon", "", {})  # an older clock does not change the order
    last = journal.append(first, second)
    read = list(journal.entries())
    assert [e.seq for e in read] == [last - 1, last]
    assert [(e.at, e.watch_id, e.kind, e.key, e.data) for e in read] == [
        (e.at, e.watch_id, e.kind, e.key, e.data) for e in (first, second)
    ]


def test_nothing_to_append_writes_nothing(journal: Journal) -> None:
    last = journal.append(entry())
    assert journal.append() == last
    assert len(list(journal.entries())) == 1


def test_entries_are_filtered(journal: Journal) -> None:
    journal.append(entry("a", "watch"), entry("a", "plan"), entry("b", "watch"))
    assert [e.watch_id for e in journal.entries(kinds=frozenset({"watch"}))] == ["a", "b"]
    assert [e.kind for e in journal.entries(watch_id="a")] == ["watch", "plan"]
    assert [e.seq for e in journal.entries(after=2)] == [3]
    assert list(journal.entries(watch_id="a", kinds=frozenset({"plan"}), after=2)) == []
    assert list(journal.entries(kinds=frozenset())) == []


def test_latest_is_the_newest_by_number_for_each_watch(journal: Journal) -> None:
    journal.append(entry("a", n=1, at=9.0), entry("b", n=2), entry("a", n=3), entry("a", "plan"))
    assert {k: e.data["n"] for k, e in journal.latest("watch").items()} == {"a": 3, "b": 2}


def test_more_entries_than_a_page_are_streamed_in_order(journal: Journal) -> None:
    journal.append(*(entry(n=i) for i in range(1203)))
    assert [e.data["n"] for e in journal.entries()] == list(range(1203))


def test_a_reader_that_stops_in_the_middle_holds_nothing(journal: Journal) -> None:
    journal.append(*(entry(n=i) for i in range(1200)))
    stream = journal.entries()
    next(stream)
    journal.append(entry(n=1200))
    assert sum(1 for _ in stream) == 1199  # what was there when it began


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, b"bytes"])
def test_what_is_not_json_is_refused_whole(journal: Journal, bad: object) -> None:
    with pytest.raises(Permanent, match="Nothing was written"):
        journal.append(entry(n=1), entry(n=bad))
    assert list(journal.entries()) == []


def test_what_was_appended_shares_nothing_with_the_caller(journal: Journal) -> None:
    values = [1]
    journal.append(entry(n=values))
    values.append(2)
    assert next(journal.entries()).data["n"] == [1]


def test_threads_append_and_read_together(journal: Journal) -> None:
    def work(thread: int) -> list[int]:
        numbers = []
        for i in range(30):
            numbers.append(journal.append(entry(f"t{thread}", n=i), entry(f"t{thread}", n=-i)))
            assert len(list(journal.entries(watch_id=f"t{thread}"))) == 2 * (i + 1)
        return numbers

    with ThreadPoolExecutor(8) as pool:
        numbers = [n for ns in pool.map(work, range(8)) for n in ns]
    read = list(journal.entries())
    assert len(set(numbers)) == 240
    assert [e.seq for e in read] == list(range(1, 481))
    for one, other in zip(read[::2], read[1::2], strict=True):  # transactions do not mix
        assert (one.watch_id, one.data["n"]) == (other.watch_id, -other.data["n"])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.dictionaries(st.text(), plain, max_size=4), at=st.floats(0, 1e11))
def test_any_json_comes_back_as_it_was(
    journal: Journal, data: dict[str, object], at: float
) -> None:
    seq = journal.append(Entry(at, "w", "evidence", "k", data))
    (read,) = journal.entries(after=seq - 1)
    assert (read.at, read.data, read.seq) == (at, data, seq)


def test_the_port_is_what_both_implement() -> None:
    implementations: list[Callable[..., Journal]] = [MemoryJournal, SqlJournal.open]
    assert len(implementations) == 2  # the type checker compares them
