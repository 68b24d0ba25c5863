"""What people see in the channel, over the whole life of a rollout, whatever breaks."""

from dataclasses import replace
from pathlib import Path

from analyzer.policy import Mode
from rollbackd.config.settings import Deciders
from rollbackd.views import WatchView
from tests.fakes.slack import FakeSlack
from tests.process.mall import BAD, Mall
from tests.slack.office import office


def test_one_message_tells_the_whole_story(slack: FakeSlack, tmp_path: Path) -> None:
    mall = Mall()
    mall.shops["shop"].annotations = {
        "rollbackd.io/author": "bob",
        "rollbackd.io/commit": "4be1a7",
        "rollbackd.io/change-url": "https://git.example/shop/pull/7",
    }
    with office(slack, tmp_path, mall=mall, pictures=True) as it:
        mall.release("v2", BAD)
        it.life.tick()
        it.pump.once()
        assert set(it.message.buttons()) == {"Roll back now", "Snooze 30 min"}
        message = it.until("awaiting approval")
        assert message.text == "shops/shop: the new version does harm: roll it back?"
        shown = message.shown()
        for part in (
            "`shops/shop` on `mall`:  `v1` → `v2`",
            "by bob · `4be1a7` · <https://git.example/shop/pull/7|change on git.example>",
            "*degraded*",
            "• errors 20 % vs",
            "errors, canary: 20 %",
            "Mode `approve`",
            "<https://grafana.example/d/shop?var-ns=shops&amp;from=",
        ):
            assert part in shown
        assert set(message.buttons()) == {"Approve", "Reject"}
        assert "switch" in message.buttons()["Approve"]["confirm"]["text"]["text"]
        assert it.user().press(message, "Approve") == "Done: approved by @ann"
        message = it.until("rolled back")
        assert (len(slack.posts()), message.buttons()) == (1, {})
        assert "*Rolled back by @ann at 08:" in message.shown()
        assert ", recovered at 08:" in message.shown()
        course = slack.thread(message)
        for part in ("degraded: errors", "approved by @ann", "recovered"):
            assert part in course
        assert course.count("approved by @ann") == 1
        assert len(slack.shared) == 2  # the case and the end
        assert all(file.startswith(b"\x89PNG") for file in slack.files.values())


def test_the_message_shows_how_the_evidence_grows(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, mode=Mode.OBSERVE) as it:
        it.life.mall.release("v2")
        message = it.until("observing")
        edits, shown = message.edits, message.shown()
        views = len(list(it.life.journal.entries(kinds=frozenset({"view"}))))
        reasons = set()
        for _ in range(7):  # somewhat more than a minute
            it.life.tick()
            it.pump.once()
            reasons.add(it.life.view().reasons[0])
        assert it.life.view().phase == "observing"
        assert message.edits == edits + 1
        assert message.shown() != shown
        assert any(reason in message.shown() for reason in reasons)
        assert slack.posts() == [message]
        assert len(list(it.life.journal.entries(kinds=frozenset({"view"})))) == views


def test_after_a_restart_the_same_message_goes_on(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path) as first:
        first.life.mall.release("v2", BAD)
        message = first.until("awaiting approval")
    with office(slack, tmp_path, before=first) as second:
        second.life.tick()
        second.user().press(message, "Approve")
        second.until("rolled back")
        assert slack.posts() == [message]
        assert "Rolled back by @ann" in message.shown()
        lines = slack.thread(message).splitlines()
        assert len(set(lines)) == len(lines)


def test_slack_being_down_blocks_nothing_and_is_told_afterwards(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path, mode=Mode.ENFORCE, http=True) as it:
        slack.down = True
        it.life.mall.release("v2", BAD)
        for _ in range(3):
            it.life.tick()
            it.pump.once()
        it.life.until("rolled back")
        assert it.life.mall.writes == ["shop"]
        assert it.pump.once() > 1.0
        assert slack.posts() == []
        slack.down = False
        it.pump.once()
        assert "*Rolled back by rollbackd at" in it.message.shown()
        for part in ("degraded", "acting", "recovered"):
            assert part in slack.thread(it.message)


def test_a_daemon_that_starts_while_slack_is_down_connects_later(
    slack: FakeSlack, tmp_path: Path
) -> None:
    slack.down = True
    with office(slack, tmp_path) as it:
        slack.wait_until(lambda: slack.calls["apps.connections.open"] > 0)
        slack.down = False
        it.life.mall.release("v2")
        message = it.until("observing")
        assert it.user().press(message, "Snooze 30 min").startswith("Done: snoozed by @ann")


def test_the_time_that_slack_asks_for_is_given(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path) as it:
        it.life.mall.release("v2")
        it.life.tick()
        slack.throttled["chat.postMessage"] = [7]
        assert it.pump.once() == 7.0
        it.pump.once()
        # the message got through, its thread did not: only that is tried again
        it.life.until("observing")
        slack.throttled["chat.postMessage"] = [9]
        assert it.pump.once() == 9.0
        it.pump.once()
        assert len(slack.posts()) == 1
        assert slack.thread(it.message).count("observing") == 1


def test_a_message_that_was_deleted_is_posted_anew(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path) as it:
        it.life.mall.release("v2")
        it.life.tick()
        it.pump.once()
        slack.messages.clear()
        it.until("observing")
        assert len(slack.posts()) == 1


def test_without_the_right_to_upload_everything_else_is_told(
    slack: FakeSlack, tmp_path: Path
) -> None:
    slack.lacking = {"files:write"}
    with office(slack, tmp_path, pictures=True) as it:
        it.life.mall.release("v2", BAD)
        it.until("awaiting approval")
        assert it.pump.once() == 1.0
        assert slack.shared == []
        assert "degraded" in slack.thread(it.message)


def test_a_picture_that_cannot_be_drawn_keeps_nothing_from_being_told(
    slack: FakeSlack, tmp_path: Path
) -> None:
    def broken(view: WatchView) -> bytes:
        raise OSError(f"no cache directory, {view.id}")

    with office(slack, tmp_path) as it:
        it.workspace.messenger._draw = broken
        it.life.mall.release("v2", BAD)
        it.until("awaiting approval")
        it.user().press(it.message, "Approve")
        it.until("rolled back")
        assert "recovered" in slack.thread(it.message)
        assert slack.shared == []


def test_a_wrong_channel_can_be_mended_while_it_runs(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path) as it:
        it.workspace.messenger._channel = "C0ELSEWHERE"
        it.life.mall.release("v2")
        it.life.tick()
        it.pump.once()
        assert slack.posts() == []
        it.workspace.messenger._channel = "C0ROLLOUTS"
        it.pump.once()
        assert len(slack.posts()) == 1


def test_two_rollouts_have_two_messages(slack: FakeSlack, tmp_path: Path) -> None:
    mall = Mall("shop", "other")
    with office(slack, tmp_path, mall=mall) as it:
        mall.release("v2", BAD)
        mall.release("v2", shop="other")
        it.until("awaiting approval", watch="/shop@")
        bad, fine = sorted(slack.posts(), key=lambda m: "harm" not in m.text)
        assert set(bad.buttons()) == {"Approve", "Reject"}
        assert set(fine.buttons()) == {"Roll back now", "Snooze 30 min"}


def test_a_new_version_ends_the_buttons_of_the_old_one(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, deciders=Deciders(users=("U1",))) as it:
        it.life.mall.release("v2", BAD)
        old = replace(it.until("awaiting approval"))
        it.life.mall.release("v3", BAD)
        it.until("awaiting approval", watch="@v3")
        assert slack.posts()[0].buttons() == {}
        assert "no longer current" in it.user().press(old, "Approve")
        assert it.life.mall.writes == []
