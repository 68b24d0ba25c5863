import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actions.ports import Conflict, Fenced, Permanent, Transient
from rollbackd.kubernetes.connection import PAGE_LIMIT, Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.kubernetes.errors import Denied, Expired
from tests.fakes.kube_api import Access, ClusterSettings, FakeKubeApi, Fault, FaultAction
from tests.kubernetes.shop import DEPLOYMENTS, cluster, deployment, manifest

SHOP = "/apis/apps/v1/namespaces/default/deployments/shop"
NOTE = "/metadata/annotations"


@pytest.fixture
def shop() -> Iterator[tuple[FakeKubeApi, Connection]]:
    with cluster() as (api, connection):
        api.create(manifest())
        yield api, connection


def test_one_object_comes_as_it_is(shop: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = shop
    found = connection.get(SHOP)
    assert found is not None
    assert found["spec"] == deployment(api)["spec"]


def test_no_object_is_an_answer(shop: tuple[FakeKubeApi, Connection]) -> None:
    _, connection = shop
    assert connection.get(f"{SHOP}-not") is None


def test_a_selector_narrows_a_collection(shop: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = shop
    api.create(manifest(name="other"))
    names = [item["metadata"]["name"] for item in connection.items(DEPLOYMENTS, "app=other")]
    assert names == ["other"]
    assert len(connection.items(DEPLOYMENTS)) == 2


def test_a_long_collection_comes_in_pages(shop: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = shop
    for number in range(PAGE_LIMIT + 1):
        settings = {"name": f"n{number:04}", "namespace": "default"}
        api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": settings})
    pages = list(connection.pages("/api/v1/configmaps", {}))
    assert [len(items) for items, _ in pages] == [PAGE_LIMIT, 1]
    assert len({version for _, version in pages}) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_who_may_not_write_reads_and_sends_no_write(
    shop: tuple[FakeKubeApi, Connection], method: str
) -> None:
    api, _ = shop

    def refuse() -> None:
        raise Fenced("another process leads")

    follower = Connection(ClusterAccess(server=api.url), refuse)
    assert follower.get(SHOP) is not None
    assert list(follower.pages(DEPLOYMENTS, {}))
    before = len(api.requests())
    with pytest.raises(Fenced):
        follower.request(method, SHOP, body={})
    assert len(api.requests()) == before
    follower.close()


def test_a_patch_whose_test_fails_writes_nothing(shop: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = shop
    stale = {"op": "test", "path": "/metadata/resourceVersion", "value": "1"}
    with pytest.raises(Conflict):
        connection.patch(SHOP, [stale, {"op": "add", "path": NOTE, "value": {"a": "b"}}])
    assert "a" not in deployment(api)["metadata"].get("annotations", {})


def test_an_object_that_breaks_the_rules_is_permanent(
    shop: tuple[FakeKubeApi, Connection],
) -> None:
    _, connection = shop
    with pytest.raises(Permanent, match="replicas"):
        connection.patch(SHOP, [{"op": "replace", "path": "/spec/replicas", "value": -1}])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(FaultAction.THROTTLE), Transient),
        (Fault(FaultAction.ERROR, code=503), Transient),
        (Fault(FaultAction.UNAUTHORIZED), Denied),
        (Fault(FaultAction.FORBIDDEN), Denied),
        (Fault(FaultAction.GONE), Expired),
        (Fault(FaultAction.DROP_BEFORE), Transient),
        (Fault(FaultAction.DROP_AFTER), Transient),
        (Fault(FaultAction.TRUNCATE), Transient),
    ],
    ids=lambda value: str(getattr(value, "action", "")),
)
def test_trouble_is_translated_and_does_not_stay(
    shop: tuple[FakeKubeApi, Connection], fault: Fault, error: type[Exception]
) -> None:
    api, connection = shop
    api.add_fault(fault)
    with pytest.raises(error):
        connection.get(SHOP)
    api.clear_faults()
    assert connection.get(SHOP) is not None


def test_a_write_is_sent_once_even_when_its_answer_is_lost(
    shop: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = shop
    api.add_fault(Fault(FaultAction.DROP_AFTER, verb="patch"))
    with pytest.raises(Transient):
        connection.patch(SHOP, [{"op": "add", "path": NOTE, "value": {"a": "b"}}])
    assert [request.method for request in api.requests()].count("PATCH") == 1
    assert deployment(api)["metadata"]["annotations"]["a"] == "b"


@contextmanager
def silent_server(answer: bytes = b"") -> Iterator[str]:
    """Accept connections, say at most ``answer``, and nothing more; yield the URL."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    accepted, _ = server.accept()
                except OSError:
                    return
                accepted.sendall(answer)
                held.append(accepted)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for accepted in held:
            accepted.close()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], ids=["head", "body"]
)
def test_a_server_that_falls_silent_is_not_waited_for(answer: bytes) -> None:
    with silent_server(answer) as url:
        connection = Connection(ClusterAccess(server=url, timeout_s=0.2))
        with pytest.raises(Transient, match="timed out"):
            connection.get("/x")
        connection.close()


@pytest.mark.parametrize("body", [b"{nonsense", b"[1]"])
def test_an_answer_that_makes_no_sense_may_pass(body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with silent_server(head + body) as url:
        connection = Connection(ClusterAccess(server=url, timeout_s=5))
        with pytest.raises(Transient, match=r"not JSON|not a JSON object"):
            connection.get("/x")
        connection.close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    connection = Connection(ClusterAccess(server=f"http://127.0.0.1:{port}"))
    with pytest.raises(Transient, match="refused"):
        connection.get("/x")


def test_a_watch_brings_later_events_and_ends_when_it_was_told_to(
    shop: tuple[FakeKubeApi, Connection],
) -> None:
    api, connection = shop
    ((_, version),) = connection.pages("/api/v1/configmaps", {})
    with connection.watch("/api/v1/configmaps", {}, version, 1.0) as stream:
        settings = {"name": "new", "namespace": "default"}
        api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": settings})
        events = [event for event in stream if event["type"] != "BOOKMARK"]
    assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "new")]


@pytest.mark.parametrize("answers_http", [True, False])
def test_a_watch_from_a_forgotten_version_is_expired(
    shop: tuple[FakeKubeApi, Connection], answers_http: bool
) -> None:
    api, connection = shop
    api.compact_history(answers_http=answers_http)
    with (
        pytest.raises(Expired),
        connection.watch(DEPLOYMENTS, {}, "1", 5.0) as stream,
    ):
        list(stream)


def test_a_watch_that_breaks_off_is_transient(shop: tuple[FakeKubeApi, Connection]) -> None:
    api, connection = shop
    ((_, version),) = connection.pages("/api/v1/configmaps", {})
    with connection.watch("/api/v1/configmaps", {}, version, 30.0) as stream:
        api.end_watches("drop")
        with pytest.raises(Transient):
            list(stream)


def in_background(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_a_quiet_watch_can_be_interrupted(shop: tuple[FakeKubeApi, Connection]) -> None:
    _, connection = shop
    ((_, version),) = connection.pages("/api/v1/configmaps", {})
    ended: list[Exception] = []

    with connection.watch("/api/v1/configmaps", {}, version, 60.0) as stream:

        def follow() -> None:
            try:
                list(stream)
            except Transient as error:
                ended.append(error)

        thread = in_background(follow)
        stream.interrupt()
        thread.join(5.0)
        assert not thread.is_alive()


def test_credentials_come_from_a_kubeconfig(tmp_path: Path) -> None:
    with FakeKubeApi(ClusterSettings(access=Access(token="s3cret"))) as api:
        kubeconfig = api.write_kubeconfig(tmp_path / "config")
        known = Connection(ClusterAccess(kubeconfig=kubeconfig, context="fake"))
        assert known.items(DEPLOYMENTS) == []
        stranger = Connection(ClusterAccess(server=api.url))
        with pytest.raises(Denied, match="401"):
            stranger.items(DEPLOYMENTS)
        known.close()
        stranger.close()


def test_kubeconfig_is_found_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeKubeApi() as api:
        monkeypatch.setenv("KUBECONFIG", str(api.write_kubeconfig(tmp_path / "config")))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
        connection = Connection(ClusterAccess())
        assert connection.items(DEPLOYMENTS) == []
        connection.close()


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (ClusterAccess(in_cluster=True), "host/port"),
        (ClusterAccess(kubeconfig=Path("/nowhere/config")), "nowhere"),
    ],
)
def test_credentials_that_are_not_there_are_permanent(
    access: ClusterAccess, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Permanent, match=said):
        Connection(access).get("/x")


def test_an_unknown_context_is_permanent(tmp_path: Path) -> None:
    with FakeKubeApi() as api:
        kubeconfig = api.write_kubeconfig(tmp_path / "config")
        with pytest.raises(Permanent, match="elsewhere"):
            Connection(ClusterAccess(kubeconfig=kubeconfig, context="elsewhere")).get("/x")


@pytest.mark.parametrize(
    "contradiction",
    [
        {"server": "http://x", "context": "y"},
        {"server": "http://x", "in_cluster": True},
        {"context": "y", "in_cluster": True},
        {"timeout_s": 0.0},
    ],
)
def test_contradictions_are_refused(contradiction: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        ClusterAccess(**contradiction)  # type: ignore[arg-type]


def test_importing_costs_no_client_library() -> None:
    modules = "rollbackd.kubernetes.connection, rollbackd.rollouts.kubernetes"
    check = f"import sys, {modules}; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
