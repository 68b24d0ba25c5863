"""The whole daemon with Slack and a pager, from its configuration to its end."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from rollbackd.config import load
from rollbackd.config.settings import Config
from rollbackd.daemon import Daemon
from rollbackd.notifiers.staff import _need
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.fakes.receivers import FakePagerDuty, serving
from tests.fakes.slack import FakeSlack, HttpUser, SocketUser
from tests.fakes.slack.fake import APP_TOKEN, BOT_TOKEN, CHANNEL, SIGNING_SECRET


@pytest.fixture(autouse=True)
def _nothing_left_running() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(10)
    assert [thread.name for thread in left if thread.is_alive()] == []


def config(folder: Path, slack: FakeSlack, pager: str, *, http: bool = False) -> Config:
    secrets = {"bot": BOT_TOKEN, "app": APP_TOKEN, "signing": SIGNING_SECRET, "route": "R0UTE"}
    for name, text in secrets.items():
        (folder / name).write_text(text)
    way = {"signing_secret_file": "signing"} if http else {"app_token_file": "app"}
    values = minimal() | {
        "tick": "1s",
        "journal": {"url": f"sqlite:///{folder / 'journal.db'}"},
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "source": {"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
        "rollouts": {
            "static": [
                {
                    "name": "checkout",
                    "namespace": "shop",
                    "baseline": {"label": "v1", "instances": ["a:1"]},
                    "canary": {"label": "v2", "instances": ["b:1"]},
                    "annotations": {"rollbackd.io/author": "bob"},
                }
            ]
        },
        "actions": [],
        "notifiers": [
            {
                "name": "rollouts",
                "slack": {"channel": CHANNEL, "api": slack.api, "bot_token_file": "bot"} | way,
            },
            {"name": "pager", "pagerduty": {"url": pager, "routing_key_file": "route"}},
        ],
    }
    values["policies"][0]["deciders"] = {"users": ["U1"]}
    return load(write(folder, values))


def test_from_a_rollout_to_a_message_to_a_decision_and_over_a_restart(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with serving(FakePagerDuty()) as pager:
        settings = config(tmp_path, slack, pager.url)
        with Daemon(settings) as daemon:
            (message,) = slack.wait_until(slack.posts)
            assert "by bob" in message.shown()
            slack.wait_until(slack.connected)
            said = SocketUser(slack, "U2", "bob").press(message, "Snooze 30 min")
            assert "is not among those who may decide" in said
            said = SocketUser(slack).press(message, "Roll back now")
            assert said == "Done: @ann wants it rolled back now"
            # the policy names no action: refused, told, and watched on
            slack.wait_until(lambda: "not rolled back as @ann wanted" in slack.thread(message))
            slack.wait_until(lambda: "Roll back now" in message.buttons())
            SocketUser(slack).press(message, "Snooze 30 min")
            slack.wait_until(lambda: "Resume" in message.buttons())
            metrics = requests.get(f"http://127.0.0.1:{daemon.port}/metrics", timeout=5).text
            for line in (
                'rollbackd_notifications_total{notifier="pager",outcome="dropped"} 0.0',
                'rollbackd_decisions_total{answer="forbidden",decision="snooze"} 1.0',
                'rollbackd_decisions_total{answer="taken",decision="rollback"} 1.0',
            ):
                assert line in metrics
        with Daemon(settings):
            slack.wait_until(slack.connected)
            assert SocketUser(slack).press(message, "Resume").startswith("Done: resumed by @ann")
            slack.wait_until(lambda: "Resume" not in message.buttons())
        assert slack.posts() == [message]
    journal = (tmp_path / "journal.db").read_bytes()
    for secret in (BOT_TOKEN, APP_TOKEN, "R0UTE"):
        assert secret.encode() not in journal


def test_over_http_the_door_is_in_the_daemons_own_server(slack: FakeSlack, tmp_path: Path) -> None:
    slack.down = True
    with Daemon(config(tmp_path, slack, "http://127.0.0.1:1", http=True)) as daemon:
        url = f"http://127.0.0.1:{daemon.port}/slack/events"
        forged = HttpUser(slack, url=url).signed("interactive", {}, secret="wrong")
        assert HttpUser(slack, url=url).post(*forged).status_code == 401
        assert requests.get(f"http://127.0.0.1:{daemon.port}/healthz", timeout=5).ok


def test_a_library_that_is_not_installed_is_named() -> None:
    with pytest.raises(ValueError, match=r"notifier n needs: pip install 'rollbackd\[slack\]'"):
        _need("there_is_no_such_library", "slack", "n")
