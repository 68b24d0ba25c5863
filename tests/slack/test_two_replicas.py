"""Two daemon processes on one PostgreSQL, one click that is delivered again and again: one rollback."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from actions.ports import Entry
from rollbackd.store import JournalReader
from tests.config.files import minimal, write
from tests.end_to_end.cluster import free_port
from tests.end_to_end.daemon_process import DaemonProcess
from tests.fakes.kube_api import FakeKubeApi
from tests.fakes.slack import FakeSlack, HttpUser, SocketUser
from tests.fakes.slack.fake import APP_TOKEN, BOT_TOKEN, CHANNEL, SIGNING_SECRET
from tests.kubernetes.shop import cluster, deploy, image, manifest, settle, writes
from tests.process.test_replicas import SOON, leads
from tests.servers.postgres import PostgresServer

pytestmark = [pytest.mark.servers, pytest.mark.slow]

TOKEN = "only-for-this-test"


@dataclass
class Replicas:
    """Two replicas in front of a release that a person may want rolled back."""

    folder: Path
    slack: FakeSlack
    api: FakeKubeApi
    journal: str
    stack: ExitStack
    leader: DaemonProcess = field(init=False)
    follower: DaemonProcess = field(init=False)

    def start(self, way: dict[str, str]) -> None:
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(lambda name: self._replica(name, way), ("one", "other"))
        one.wait_until(lambda: leads(one) or leads(other))
        self.leader, self.follower = (one, other) if leads(one) else (other, one)
        deploy(self.api, "shop:2")

    def _replica(self, name: str, way: dict[str, str]) -> DaemonProcess:
        port, folder = free_port(), self.folder / name
        folder.mkdir()
        secrets = {"dsn": self.journal, "token": TOKEN, "bot": BOT_TOKEN, "app": APP_TOKEN}
        for file, text in (secrets | {"signing": SIGNING_SECRET}).items():
            (folder / file).write_text(text)
        values = minimal() | {
            "tick": "1s",
            "journal": {"dsn_file": "dsn"},
            "leadership": SOON | {"address": f"http://127.0.0.1:{port}"},
            "http": {
                "listen": f"127.0.0.1:{port}",
                "token_file": "token",
                "proxy": {"networks": ["127.0.0.0/8"]},
            },
            "source": {"scrape": {"targets": [{"address": "127.0.0.1:1"}]}},
            "rollouts": {"kubernetes": {"server": self.api.url}},
            "notifiers": [
                {
                    "name": "rollouts",
                    "slack": {"channel": CHANNEL, "api": self.slack.api, "bot_token_file": "bot"}
                    | way,
                }
            ],
        }
        values["policies"][0] |= {
            "actions": ["rollback"],
            "deciders": {"users": ["U1", "carol"]},
        }
        process = DaemonProcess(write(folder, values), port, folder / "log")
        return self.stack.enter_context(process)

    def decisions(self) -> list[Entry]:
        with JournalReader.open(self.journal) as journal:
            return list(journal.entries(kinds=frozenset({"decision"})))


@pytest.fixture
def replicas(slack: FakeSlack, tmp_path: Path, postgres: PostgresServer) -> Iterator[Replicas]:
    with cluster() as (api, _), ExitStack() as stack:
        api.create(manifest())
        settle(api)
        yield Replicas(tmp_path, slack, api, postgres.fresh(), stack)


def test_a_click_that_reaches_both_replicas_at_once_rolls_back_once(replicas: Replicas) -> None:
    replicas.start({"signing_secret_file": "signing"})
    slack = replicas.slack
    (message,) = slack.wait_until(slack.posts)
    users = [
        HttpUser(slack, url=f"{replica.url}/slack/events")
        for replica in (replicas.follower, replicas.leader)
    ]
    press = users[0].pressed(message, message.buttons()["Roll back now"])
    delivered = users[0].signed("interactive", press)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda user: user.post(*delivered).status_code, users * 4))
    assert sorted(answers) == [200, *[409] * 7]  # one delivery is taken, its copies are refused
    again = users[0].signed("interactive", press, age_s=-1)  # Slack tries again by itself
    assert users[0].post(*again).status_code == 200
    slack.wait_until(lambda: len(slack.answers) == 2)
    told = sorted(str(answer["text"]).split(":")[0] for answer in slack.answers)
    assert told == ["Done", "this is no longer current, nothing was done"]
    replicas.leader.wait_for_phase("verifying")
    slack.wait_until(lambda: "Rolled back by @ann" in message.shown())
    assert (image(replicas.api), writes(replicas.api)) == ("shop:1", 1)
    (decision,) = replicas.decisions()
    assert decision.data["id"] == "U1"
    assert slack.posts() == [message]


def test_a_click_is_not_taken_again_by_the_replica_that_takes_over(replicas: Replicas) -> None:
    replicas.start({"app_token_file": "app"})
    slack = replicas.slack
    (message,) = slack.wait_until(slack.posts)
    slack.wait_until(slack.connected)
    user, button = SocketUser(slack), message.buttons()["Roll back now"]
    assert user.press_button(message, button).startswith("Done")
    replicas.leader.kill()
    replicas.follower.wait_until(lambda: leads(replicas.follower))
    slack.wait_until(slack.connected)
    assert "no longer current" in user.press_button(message, button, times=2)
    replicas.follower.wait_for_phase("verifying")
    slack.wait_until(lambda: "Rolled back by @ann" in message.shown())
    assert (image(replicas.api), writes(replicas.api)) == ("shop:1", 1)
    assert len(replicas.decisions()) == 1
    assert slack.posts() == [message]


def test_what_is_decided_at_a_follower_reaches_the_leader(replicas: Replicas) -> None:
    replicas.start({"signing_secret_file": "signing"})
    view = replicas.leader.wait_for_phase("warming", "observing")
    follower = replicas.follower
    follower.wait_until(follower.view)
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    decision = {"watch": view.id, "decision": "snooze", "plan": "", "turn": 0, "by": "ann"}

    def post(path: str, **how: object) -> requests.Response:
        url = f"{follower.url}{path}"
        return requests.post(url, timeout=20, allow_redirects=False, **how)  # type: ignore[arg-type]

    api = "/api/v1/decisions"
    assert post(api, json=decision, headers={"Authorization": "Bearer wrong"}).status_code == 403
    assert post(api, json=decision, headers=bearer).json()["phase"] == "held"
    assert post(api, json=decision, headers=bearer).status_code == 409
    # on the page, by the word of a proxy, which the follower passes on with its own
    key = follower.wait_until(lambda: _offered(replicas, "resume"))
    ours = {"sec-fetch-site": "same-origin"}
    stranger = post("/decide", data={"key": key}, headers=ours | {"x-rollbackd-vouched": "x.y"})
    assert stranger.status_code == 403
    carol = ours | {"x-forwarded-user": "carol"}
    assert post("/decide", data={"key": key}, headers=carol).headers["location"].endswith("taken")
    assert [(e.data["by"], e.data["decision"]) for e in replicas.decisions()] == [
        ("ann", "snooze"),
        ("carol", "resume"),
    ]
    assert writes(replicas.api) == 0


def _offered(replicas: Replicas, verb: str) -> str | None:
    from rollbackd.decisions import Verb, offer_key, offers  # the leader's offer of the moment

    view = replicas.leader.view()
    wanted = Verb(verb)
    return offer_key(view, wanted) if view is not None and wanted in offers(view) else None
