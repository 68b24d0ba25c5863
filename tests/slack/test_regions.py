"""Regions in Slack: a message for each episode, with buttons that move real DNS records."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.policy import Mode
from analyzer.regions.events import Standing
from analyzer.regions.life import RegionPhase
from rollbackd.config.notifiers import SlackSettings
from rollbackd.notifiers.links import NO_LINKS
from rollbackd.notifiers.pump import Pump
from rollbackd.slack.workspace import join
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.slack import FakeSlack, Message, SocketUser
from tests.fakes.slack.fake import APP_TOKEN, BOT_TOKEN, CHANNEL
from tests.process.lifetime import TELEMETRY
from tests.regions.test_keeper import EU, POLICY, US, WWW, Life, Told, _as_it_was, bind
from tests.regions.test_people import WELL, Desk
from tests.servers.nameservers import Bind
from tests.slack.office import secret

__all__ = ["_as_it_was", "bind"]
pytestmark = pytest.mark.servers


@pytest.fixture
def desk(bind: Bind) -> Iterator[Desk]:
    journal, told = MemoryJournal(), Told(dict(WELL))
    life = Life(bind, journal, told, policy=replace(POLICY, mode=Mode.APPROVE))
    life.tick()
    yield Desk(life, journal)
    life.keeper.close()


def test_a_sick_region_is_moved_and_brought_back_by_buttons(
    slack: FakeSlack, desk: Desk, bind: Bind, tmp_path: Path
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
        journal=desk.journal,
        telemetry=TELEMETRY,
        now=lambda: desk.life.at,
    )
    for start in workspace.starts:
        start()
    slack.wait_until(slack.connected)
    ann, bob = SocketUser(slack), SocketUser(slack, "U2", "bob")

    def until(*phases: RegionPhase) -> Message:
        desk.life.until(*phases)
        pump.once()
        return slack.posts()[-1]

    pump.once()
    desk.life.evidence.standing["eu"] = Standing.SICK
    message = until(RegionPhase.AWAITING_APPROVAL)
    assert "region `eu`, compared with us" in message.shown()
    assert set(message.buttons()) == {"Approve", "Reject"}
    assert ann.press(message, "Reject").startswith("Done")
    message = until(RegionPhase.NEEDS_HUMAN)
    fail_over = message.buttons()["Fail over"]
    assert "Move the traffic of" in fail_over["confirm"]["text"]["text"]
    assert "is not among those who may decide" in bob.press(message, "Fail over")
    assert bind.ask(WWW, "A") == {EU, US}
    said = ann.press(message, "Fail over", times=2)
    assert sorted(line.split(":")[0] for line in said.splitlines()) == [
        "Done",
        "this is no longer current, nothing was done",
    ]
    message = until(RegionPhase.FAILED_OVER)
    assert bind.ask(WWW, "A") == {US}
    assert "Bring the traffic of" in message.buttons()["Fail back"]["confirm"]["text"]["text"]
    desk.life.evidence.standing["eu"] = Standing.HEALTHY
    assert ann.press(message, "Fail back").startswith("Done")
    until(RegionPhase.NORMAL)
    assert bind.ask(WWW, "A") == {EU, US}
    assert len(slack.posts()) == 1  # one message for the episode
    desk.life.evidence.standing["eu"] = Standing.SICK
    until(RegionPhase.AWAITING_APPROVAL)
    assert len(slack.posts()) == 2  # and another for the next
    pump.close()
    workspace.close()
