"""What every store of a lease promises; run over the fake and over the real ones."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from actions.ports import Conflict, Permanent, Transient
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.leadership.database import DatabaseLease
from rollbackd.leadership.kubernetes import KubernetesLease
from rollbackd.leadership.lease import Lease, LeaseStore
from rollbackd.store import SqlJournal
from tests.fakes.kube_api import Access, FakeKubeApi, Fault, FaultAction
from tests.fakes.memory_lease import MemoryLease
from tests.servers.postgres import PostgresServer

NOW = 1_800_000_000.25
MINE = Lease("one", 15.0, 0)


@pytest.fixture(
    params=["memory", "kubernetes", pytest.param("postgresql", marks=pytest.mark.servers)]
)
def store(request: pytest.FixtureRequest) -> Iterator[LeaseStore]:
    match request.param:
        case "memory":
            yield MemoryLease()
        case "kubernetes":
            with FakeKubeApi() as api:
                connection = Connection(ClusterAccess(server=api.url))
                times = itertools.count(NOW, 0.001)  # a write of the same time would be none
                yield KubernetesLease(connection, "default", "rollbackd", lambda: next(times))
                connection.close()
        case _:
            server: PostgresServer = request.getfixturevalue("postgres")
            with SqlJournal.open(server.fresh()) as journal:
                yield DatabaseLease(journal.engine, "rollbackd")


def test_there_is_none_before_the_first_write(store: LeaseStore) -> None:
    assert store.read() is None


def test_what_was_written_is_read_with_a_version(store: LeaseStore) -> None:
    written = store.write(MINE, None)
    assert replace(written, version="") == MINE
    assert written.version
    assert store.read() == written


def test_every_write_changes_the_version(store: LeaseStore) -> None:
    written = [store.write(MINE, None)]
    for holder in ("one", "two", "two", ""):
        written.append(store.write(Lease(holder, 15.0, 7), written[-1]))
    versions = [lease.version for lease in written]
    assert len(set(versions)) == len(versions)
    assert store.read() == written[-1]


def test_who_did_not_see_the_newest_writes_nothing(store: LeaseStore) -> None:
    first = store.write(MINE, None)
    second = store.write(replace(MINE, holder="two", transitions=1), first)
    for stale in (None, first):
        with pytest.raises(Conflict):
            store.write(MINE, stale)
    assert store.read() == second


@pytest.mark.parametrize("is_new", [True, False])
def test_of_those_who_write_together_one_succeeds(store: LeaseStore, is_new: bool) -> None:
    seen = None if is_new else store.write(MINE, None)

    def attempt(n: int) -> Lease | None:
        try:
            return store.write(Lease(f"r{n}", 15.0, 1), seen)
        except Conflict:
            return None

    with ThreadPoolExecutor(6) as pool:
        won = [lease for lease in pool.map(attempt, range(6)) if lease is not None]
    assert won == [store.read()]


@pytest.mark.servers
def test_an_outage_is_transient(postgres: PostgresServer) -> None:
    with SqlJournal.open(postgres.fresh()) as journal:
        lease = DatabaseLease(journal.engine, "rollbackd")
        seen = lease.write(MINE, None)
        postgres.stop()
        with pytest.raises(Transient):
            lease.read()
        with pytest.raises(Transient):
            lease.write(MINE, seen)
        postgres.start()
        assert lease.write(MINE, seen).version != seen.version


def test_the_lease_object_is_one_that_other_tools_can_read() -> None:
    with FakeKubeApi() as api:
        connection = Connection(ClusterAccess(server=api.url))
        lease = KubernetesLease(connection, "default", "rollbackd", lambda: NOW)
        seen = lease.write(MINE, None)
        spec = api.get("coordination.k8s.io/v1", "Lease", "rollbackd")["spec"]
        assert spec == {
            "holderIdentity": "one",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 0,
            "acquireTime": "2027-01-15T08:00:00.250000Z",
            "renewTime": "2027-01-15T08:00:00.250000Z",
        }
        api.add_fault(Fault(FaultAction.THROTTLE, method="PATCH", count=1))
        with pytest.raises(Transient):
            lease.write(MINE, seen)
        api.set_access(Access(denied=frozenset({"patch leases"})))
        with pytest.raises(Permanent, match="403"):
            lease.write(MINE, seen)
        connection.close()


def test_the_port_is_what_all_implement() -> None:
    implementations: list[Callable[..., LeaseStore]] = [
        MemoryLease,
        KubernetesLease,
        DatabaseLease,
    ]
    assert len(implementations) == 3  # the type checker compares them
