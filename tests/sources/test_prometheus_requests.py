"""What is sent to a Prometheus, as whom, and in how many parts."""

import json
import ssl
import subprocess
from pathlib import Path

import numpy as np
import pytest

from analyzer.sample import Absence, Grid, Missing, Query, Series
from analyzer.signal import Selector
from rollbackd.sources.http_access import BasicAuth, HttpAccess
from rollbackd.sources.prometheus import PrometheusSource
from rollbackd.sources.prometheus_session import QueryLimits
from tests.servers.prometheus import PrometheusServer
from tests.servers.remote_write import WrittenSeries
from tests.sources.conftest import Serve
from tests.sources.stub_server import Answer, Request, StubServer

GRID = Grid(1_700_000_000.25, 0.5, 4)
QUERY = Query(Selector("requests_total"), ("pod",), (("pod", frozenset({"b.1", "a"})),))
EMPTY = Answer(b'{"status": "success", "data": {"resultType": "matrix", "result": []}}')


def sent(serve: Serve, access: HttpAccess | None = None) -> Request:
    server = serve(lambda _: EMPTY)
    source = PrometheusSource(f"{server.url}/prefix/", access=access, params=(("dedup", "true"),))
    source.fetch([QUERY], GRID)
    source.close()
    (request,) = server.requests
    return request


def test_the_query_is_a_form_with_exact_times(serve: Serve) -> None:
    request = sent(serve)
    assert (request.method, request.path) == ("POST", "/prefix/api/v1/query_range")
    assert request.form == {
        "query": r'sum by (pod) (requests_total{pod=~"a|b\\.1"})',
        "start": "1700000000.250",
        "end": "1700000001.750",
        "step": "0.500",
        "timeout": "10s",
        "dedup": "true",
    }


def test_connections_are_used_again(serve: Serve) -> None:
    server = serve(lambda _: EMPTY)
    source = PrometheusSource(server.url, limits=QueryLimits(connections=1))
    source.fetch([QUERY] * 5, GRID)
    source.close()
    assert (len(server.requests), server.connections) == (5, 1)


def test_headers_are_sent(serve: Serve) -> None:
    access = HttpAccess(headers=(("X-Scope-OrgID", "team-a"),))
    assert sent(serve, access).headers["X-Scope-OrgID"] == "team-a"


def test_basic_auth_is_sent(serve: Serve) -> None:
    access = HttpAccess(basic_auth=BasicAuth("user", "pässword"))
    assert sent(serve, access).headers["Authorization"] == "Basic dXNlcjpww6Rzc3dvcmQ="
    assert "pässword" not in repr(access)


def test_a_replaced_token_is_used_at_once(serve: Serve, tmp_path: Path) -> None:
    token = tmp_path / "token"
    server = serve(lambda _: EMPTY)
    source = PrometheusSource(server.url, access=HttpAccess(bearer_token_file=token))
    for text in ("first\n", "second\n"):
        token.write_text(text, encoding="utf-8")
        source.fetch([QUERY], GRID)
    seen = [request.headers["Authorization"] for request in server.requests]
    assert seen == ["Bearer first", "Bearer second"]
    for content in (b"", b"two\nlines", b"\xff"):
        token.write_bytes(content)
        (reply,) = source.fetch([QUERY], GRID)
        assert isinstance(reply, Missing)
        assert reply.reason is Absence.UNAUTHORISED
    token.unlink()
    (reply,) = source.fetch([QUERY], GRID)
    source.close()
    assert isinstance(reply, Missing)
    assert reply.reason is Absence.UNAUTHORISED
    assert str(token) in reply.detail
    assert len(server.requests) == 2


def test_the_environment_has_no_say(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert "Authorization" not in sent(serve).headers


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("prometheus:9090", "expected an address like"),
        ("ftp://prometheus", "expected an address like"),
        ("http://", "expected an address like"),
        ("http://user:secret@prometheus", "basic auth"),
        ("http://prometheus/?tenant=1", "must end before"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        PrometheusSource(url)
    assert "secret" not in str(refused.value)


def test_credentials_that_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        HttpAccess(bearer_token_file=Path("token"), basic_auth=BasicAuth("user", "password"))
    with pytest.raises(ValueError, match="needs a certificate"):
        HttpAccess(key_file=Path("key"))


def test_long_lists_are_split_and_long_grids_too(serve: Serve) -> None:
    """The server answers each part from its own text, so a wrong merge would show."""

    def answer(request: Request) -> Answer:
        form = request.form
        pattern = form["query"].partition('=~"')[2].partition('"')[0]
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        times = np.arange(start, end + step / 2, step)
        result = [
            {"metric": {"pod": pod}, "values": [[t, str(int(pod[1:]) + t)] for t in times]}
            for pod in pattern.split("|")
        ]
        data = {"resultType": "matrix", "result": result}
        return Answer(json.dumps({"status": "success", "data": data}).encode())

    server = serve(answer)
    pods = frozenset(f"p{number:03d}" for number in range(100))
    grid = Grid(1_700_000_000.0, 5.0, 25)
    limits = QueryLimits(max_query_bytes=100, max_points=10)
    source = PrometheusSource(server.url, limits=limits)
    (reply,) = source.fetch([Query(Selector("x"), ("pod",), (("pod", pods),))], grid)
    source.close()
    assert isinstance(reply, Series)
    assert reply.keys == tuple((pod,) for pod in sorted(pods))
    assert (reply.values == np.arange(100.0)[:, None] + grid.times).all()
    assert all(len(request.form["query"].encode()) <= 100 for request in server.requests)
    assert len({request.form["query"] for request in server.requests}) > 3
    assert len({request.form["start"] for request in server.requests}) == 3


@pytest.mark.servers
def test_a_real_server_takes_thousands_of_pods(tmp_path: Path) -> None:
    pods = [f"checkout-6d4cf56db6-{number:05d}.([" for number in range(3000)]
    start = 1_700_000_000.0
    with PrometheusServer(tmp_path) as server:
        server.write(
            WrittenSeries({"__name__": "x", "pod": pod}, [(start, float(number))])
            for number, pod in enumerate(pods)
        )
        source = PrometheusSource(server.url)
        query = Query(Selector("x"), ("pod",), (("pod", frozenset(pods)),))
        (reply,) = source.fetch([query], Grid(start, 5.0, 2))
        source.close()
    assert isinstance(reply, Series)
    assert reply.keys == tuple((pod,) for pod in pods)
    assert (reply.values == np.arange(3000.0)[:, None]).all()


@pytest.mark.servers
def test_a_real_server_takes_grids_of_any_length(tmp_path: Path) -> None:
    start = 1_700_000_000.0
    with PrometheusServer(tmp_path) as server:
        samples = [(start + 100 * n, float(n)) for n in range(300)]
        server.write([WrittenSeries({"__name__": "x"}, samples)])
        source = PrometheusSource(server.url)
        (reply,) = source.fetch([Query(Selector("x"), ())], Grid(start, 1.0, 25_000))
        source.close()
    assert isinstance(reply, Series)
    assert (reply.values[0] == np.arange(25_000) // 100).all()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1 and its key; both sides present it."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=rollbackd tests",
                "-keyout",
                key,
                "-out",
                cert,
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.mark.parametrize("presented", [True, False])
def test_mutual_tls(certificate: tuple[Path, Path], *, presented: bool) -> None:
    cert, key = certificate
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    tls.load_verify_locations(cert)
    tls.verify_mode = ssl.CERT_REQUIRED
    access = HttpAccess(
        ca_file=cert,
        cert_file=cert if presented else None,
        key_file=key if presented else None,
    )
    with StubServer(lambda _: EMPTY, tls) as server:
        source = PrometheusSource(server.url, access=access)
        (reply,) = source.fetch([QUERY], GRID)
        source.close()
    assert isinstance(reply, Missing)
    assert reply.reason is (Absence.NO_SERIES if presented else Absence.SOURCE_DOWN)


def test_a_server_nobody_vouches_for_is_not_asked(certificate: tuple[Path, Path]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with StubServer(lambda _: EMPTY, tls) as server:
        source = PrometheusSource(server.url)
        (reply,) = source.fetch([QUERY], GRID)
        source.close()
        assert server.requests == []
    assert isinstance(reply, Missing)
    assert reply.reason is Absence.SOURCE_DOWN
    assert "TLS" in reply.detail
