"""The splitter's turns, and what it does about upstreams and files that are not well."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.splitter_switch import parse_weights
from rollbackd.demo.splitter import Rotation
from tests.servers.nginx import eventually, free_port

weights = st.dictionaries(
    st.sampled_from("abcde"), st.integers(0, 5).map(float), min_size=1
).filter(lambda w: any(w.values()))


@given(weights, st.integers(1, 4))
def test_each_round_gives_every_server_its_weight(w: dict[str, float], rounds: int) -> None:
    rotation = Rotation(w)
    turns = Counter(rotation.next() for _ in range(rounds * int(sum(w.values()))))
    assert turns == {a: weight * rounds for a, weight in w.items() if weight}


def test_turns_are_not_taken_in_bursts() -> None:
    rotation = Rotation({"a": 3, "b": 1})
    assert [rotation.next() for _ in range(4)] == ["a", "a", "b", "a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("[]", "needs an address"),
        ('{"admin": 1, "servers": {"a": 1}}', "needs an address"),
        ('{"admin": "a", "servers": {}}', "weights"),
        ('{"admin": "a", "servers": {"a": "1"}}', "weight of a"),
        ('{"admin": "a", "servers": {"a": true}}', "weight of a"),
        ('{"admin": "a", "servers": {"a": -1}}', "weight of a"),
        ('{"admin": "a", "servers": {"a": NaN}}', "weight of a"),
        ('{"admin": "a", "servers": {"a": Infinity}}', "weight of a"),
        ('{"admin": "a", "servers": {"a": 0}}', "no server"),
    ],
)
def test_refuses_broken_weights(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_weights(text)


@contextmanager
def splitter(directory: Path, servers: dict[str, float]) -> Iterator[tuple[Path, int]]:
    port = free_port()
    file = directory / "weights.json"
    file.write_text(json.dumps({"admin": f"127.0.0.1:{port}", "servers": servers}))
    process = subprocess.Popen(
        [sys.executable, "-m", "rollbackd.demo.splitter", "--file", str(file)]
    )
    try:
        assert eventually(lambda: ask(port, "GET", "/-/state")[0] == 200, 20.0)
        yield file, port
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, method: str, path: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    except OSError:
        return 0, {}, ""
    finally:
        connection.close()


def test_an_upstream_that_refuses_is_a_502_that_names_it(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with splitter(tmp_path, {nobody: 1}) as (_, port):
        status, headers, body = ask(port, "GET", "/")
    assert (status, headers["x-upstream"]) == (502, nobody)
    assert "ConnectionRefusedError" in body


@contextmanager
def upstream(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answer one connection with these bytes; collect what it sent."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", received
        thread.join(10)


def test_passes_requests_on_as_they_are(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 201 Created\r\nX-Kind: shoe\r\nContent-Length: 4\r\n\r\nsold"
    path = "/a%0d%0aX-Evil:%201/%E2%82%AC?q=%20b&x"
    with upstream(answer) as (address, received), splitter(tmp_path, {address: 1}) as (_, port):
        status, headers, body = ask(port, "GET", path)
    assert (status, headers["x-kind"], headers["x-upstream"]) == (201, "shoe", address)
    assert body == "sold"
    assert received[0].startswith(f"GET {path} HTTP/1.0\r\nHost: {address}\r\n".encode())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "broke off, or does not speak HTTP"),
        (b"SSH-2.0\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "after 4 of 9 bytes"),
        (b"HTTP/1.1 what\r\n\r\n", "ValueError"),
    ],
)
def test_an_upstream_that_breaks_off_is_a_502(tmp_path: Path, answer: bytes, reason: str) -> None:
    with upstream(answer) as (address, _), splitter(tmp_path, {address: 1}) as (_, port):
        status, headers, body = ask(port, "GET", "/")
    assert (status, headers["x-upstream"]) == (502, address)
    assert reason in body


def test_a_broken_file_is_refused_and_the_old_one_kept(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with splitter(tmp_path, {nobody: 1}) as (file, port):
        before = ask(port, "GET", "/-/state")[2]
        file.write_text("{")
        for path in ("/-/check", "/-/reload"):
            status, _, body = ask(port, "POST", path)
            assert status == 422
            assert "not JSON" in body
        assert ask(port, "GET", "/-/state")[2] == before


def test_without_a_file_it_says_why_it_does_not_start(tmp_path: Path) -> None:
    missing = tmp_path / "none.json"
    done = subprocess.run(
        [sys.executable, "-m", "rollbackd.demo.splitter", "--file", str(missing)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"Error: {missing}" in done.stderr
