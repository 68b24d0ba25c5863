"""The whole daemon with every secret there is: none comes out where people or programs look."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from rollbackd.cli import main
from tests.dns.benches import EU, NAME, US
from tests.dns.credentials import Everywhere, echo, everywhere
from tests.dns.stub_clouds import TROUBLES
from tests.end_to_end.daemon_process import DaemonProcess
from tests.servers.nginx import free_port
from tests.sources.stub_server import StubServer

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]
ELSEWHERE = {
    "token": "http-sesame-token",
    "bot": "xoxb-sesame-bot",
    "signing": "slack-signing-sesame",
    "hook": "webhook-sesame-key",
    "prometheus": "prometheus-sesame-bearer",
}
ERRORS = {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Everywhere]:
    environ: dict[str, str] = {}
    with everywhere(tmp_path, environ) as made:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        for name, value in ELSEWHERE.items():
            (tmp_path / name).write_text(f"{value}\n")
        made.secrets |= frozenset(ELSEWHERE.values())
        yield made


class Chatty(DaemonProcess):
    """A daemon that logs all it can."""

    def __init__(self, config: Path, port: int, log: Path) -> None:
        super().__init__(config, port, log)
        self._command[3:3] = ["--log-level", "debug"]


def configured(world: Everywhere, folder: Path, port: int, repeats: str) -> Path:
    dns = [each for each in world.dns if each["name"] != "external-dns"]
    prometheus = {"url": repeats, "bearer_token_file": "prometheus", "timeout": "1s"}
    values: dict[str, Any] = {
        "tick": "1s",
        "settle": "1s",
        "journal": {"url": "sqlite:///rollbackd.db"},
        "http": {"listen": f"127.0.0.1:{port}", "token_file": "token"},
        "source": {"prometheus": prometheus},
        "rollouts": {
            "static": [
                {
                    "name": "shop",
                    "id_label": "instance",
                    "baseline": {"label": "v1", "instances": ["a:1"]},
                    "canary": {"label": "v2", "instances": ["b:1"]},
                }
            ]
        },
        "policies": [{"name": "default", "signals": [ERRORS]}],
        "notifiers": [
            {"name": "hook", "webhook": {"url": f"{repeats}/hook", "secret_file": "hook"}},
            {
                "name": "slack",
                "slack": {
                    "channel": "C024BE91L",
                    "api": f"{repeats}/api",
                    "bot_token_file": "bot",
                    "signing_secret_file": "signing",
                },
            },
        ],
        "regions": {
            "mode": "enforce",
            "signals": [ERRORS],
            "dns": dns,
            "records": [
                {"name": NAME, "dns": each["name"], "regions": {"eu": [EU], "us": [US]}}
                for each in dns
            ],
            "members": [
                {"name": region, "prometheus": prometheus, "assume_capacity": True}
                for region in ("eu", "us")
            ],
        },
    }
    file = folder / "rollbackd.yaml"
    file.write_text(json.dumps(values))  # JSON is YAML
    return file


def fail_over(daemon: DaemonProcess) -> None:
    """Have a person order a move, and wait until something came of it."""
    seen = daemon.log.count("region phase entered") + daemon.log.count("action delayed")
    body = {"region": "eu", "wish": "fail over", "by": "ann"}
    headers = {"Authorization": f"Bearer {ELSEWHERE['token']}"}
    answer = requests.post(f"{daemon.url}/api/v1/regions", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text

    def answered() -> bool:
        log = daemon.log
        return log.count("region phase entered") + log.count("action delayed") > seen

    daemon.wait_until(answered, seconds=60)


def test_no_secret_comes_out_of_the_daemon(world: Everywhere, tmp_path: Path) -> None:
    port = free_port()
    with StubServer(echo(500)) as repeats:
        config = configured(world, tmp_path, port, repeats.url)
        daemon = Chatty(config, port, tmp_path / "log")
        with daemon:
            fail_over(daemon)
            for name in ("route53", "cloud-dns", "cloudflare"):
                stub = world.behind[name][0]
                for trouble in (echo(401), echo(429), echo(500), TROUBLES["no JSON"]):
                    before = len(stub.http.requests)
                    stub.trouble = trouble
                    fail_over(daemon)
                    daemon.wait_until(lambda: len(stub.http.requests) > before)  # noqa: B023
                    stub.trouble = None
            world.bind.stop()
            fail_over(daemon)
            pages = [
                requests.get(f"{daemon.url}{path}", timeout=30).text
                for path in (
                    "/", "/regions", "/api/v1/regions", "/api/v1/watches", "/metrics", "/readyz",
                )
            ]  # fmt: skip
            runner = CliRunner()
            commands = [
                runner.invoke(main, [*words, "--config", str(config)]).output
                for words in (("dns", "show"), ("dns", "restore", "eu", "--yes"))
            ]
            commands.append(runner.invoke(main, ["validate", str(config)]).output)
            world.bind.start()
            assert daemon.terminate() == 0
        log = daemon.log
    told = "\n".join(pages)
    for provider in ("Route 53", "/managedZones/main", "/zones/z1", "reading www.shop.test A at"):
        assert provider in log
    assert "ann wants it to fail over" in log
    assert all(world.leaked(f"so it is known: {secret}!") for secret in world.secrets)
    for text in (log, told, *commands, journal(tmp_path / "rollbackd.db")):
        assert world.leaked(text) == []


def journal(file: Path) -> str:
    """Return everything that was written into the journal."""
    with closing(sqlite3.connect(file)) as store:
        return "\n".join(store.iterdump())


def test_secrets_that_are_missing_are_named_and_no_others_told(
    world: Everywhere, tmp_path: Path
) -> None:
    config = configured(world, tmp_path, free_port(), "http://127.0.0.1:9")
    (tmp_path / "google.json").write_text(f'{{"private_key": "{ELSEWHERE["token"]}"}}')
    (tmp_path / "tsig").unlink()
    made = subprocess.run(
        [sys.executable, "-m", "rollbackd", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=120,
        check=False,
    )
    assert made.returncode != 0
    assert "tsig" in made.stderr
    assert world.leaked(made.stdout + made.stderr) == []
