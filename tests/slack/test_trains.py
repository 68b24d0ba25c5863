"""Trains in Slack: a message for each release that travels, with buttons that release real regions."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.trains.life import TrainPhase
from rollbackd.config.notifiers import SlackSettings
from rollbackd.notifiers.links import NO_LINKS
from rollbackd.notifiers.pump import Pump
from rollbackd.slack.workspace import join
from tests.cli import sample_views
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.slack import FakeSlack, Message, SocketUser
from tests.fakes.slack.fake import APP_TOKEN, BOT_TOKEN, CHANNEL
from tests.process.lifetime import TELEMETRY
from tests.slack.office import secret
from tests.trains.stub_github import StubGitHub
from tests.trains.test_conductor import Life, World
from tests.trains.test_people import ASKING, Desk

pytestmark = pytest.mark.servers


@pytest.fixture
def desk() -> Iterator[Desk]:
    with StubGitHub() as github:
        life = Life(World(github), MemoryJournal(), ASKING)
        yield Desk(life)
        life.end()


def test_a_release_is_let_go_on_and_taken_back_by_buttons(
    slack: FakeSlack, desk: Desk, tmp_path: Path
) -> None:
    settings = SlackSettings(
        channel=CHANNEL,
        api=slack.api,
        bot_token=secret(tmp_path, BOT_TOKEN),
        app_token=secret(tmp_path, APP_TOKEN),
    )
    workspace = join(settings, NO_LINKS, desk.decisions, TELEMETRY)
    pump = Pump(
        "slack",
        workspace.messenger,
        journal=desk.life.journal,
        telemetry=TELEMETRY,
        now=lambda: desk.life.world.at,
    )
    for start in workspace.starts:
        start()
    slack.wait_until(slack.connected)
    ann, bob = SocketUser(slack), SocketUser(slack, "U2", "bob")
    github, regions = desk.life.world.github, desk.life.world.regions

    def until(phase: TrainPhase) -> Message:
        desk.life.until(phase)
        pump.once()
        return slack.posts()[-1]

    pump.once()
    desk.life.world.begin()
    message = until(TrainPhase.JUDGING)
    assert "train `shop` with `abc`: eu, us, ap" in message.shown()
    assert set(message.buttons()) == {"Stop"}
    regions["eu"].ends("healthy")
    message = until(TrainPhase.AWAITING_APPROVAL)
    assert set(message.buttons()) == {"Approve", "Reject", "Take back"}
    assert "*eu* healthy" in message.shown()
    namesake = replace(sample_views.healthy(), id="c/a/Deployment/shop@1", workload="a/shop")
    told = str(ann.type("explain shop"))
    assert "train `shop` with `abc`" in told
    desk.others = (namesake,)  # a rollout of that name is meant before a train
    assert "`a/shop` on `c`" in str(ann.type("explain shop"))
    desk.others = ()
    assert "is not among those who may decide" in bob.press(message, "Approve")
    assert github.runs == []
    said = ann.press(message, "Approve", times=2)
    assert sorted(line.split(":")[0] for line in said.splitlines()) == [
        "Done",
        "this is no longer current, nothing was done",
    ]
    message = until(TrainPhase.JUDGING)
    assert github.dispatched("us") == 1
    desk.life.tick()
    regions["us"].ends("inconclusive")
    message = until(TrainPhase.NEEDS_HUMAN)
    assert set(message.buttons()) == {"Go on", "Take back", "Stop"}
    assert "in every region" in message.buttons()["Take back"]["confirm"]["text"]["text"]
    assert ann.press(message, "Take back").startswith("Done")
    message = until(TrainPhase.TAKEN_BACK)
    assert [len(regions[name].taken_back) for name in ("eu", "us", "ap")] == [1, 1, 0]
    assert message.buttons() == {}
    assert len(slack.posts()) == 1  # one message for the release
    desk.life.world.at += 10
    desk.life.world.begin("def")
    until(TrainPhase.JUDGING)
    assert len(slack.posts()) == 2  # and another for the next
    pump.close()
    workspace.close()
