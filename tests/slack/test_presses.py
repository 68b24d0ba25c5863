"""Who may press what, when, how often; and what comes in over HTTP that should not."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.policy import Mode
from rollbackd.config.settings import Deciders
from rollbackd.slack.reception import MAX_BODY
from tests.fakes.slack import FakeSlack
from tests.process.lifetime import TELEMETRY
from tests.process.mall import BAD, GOOD, Mall
from tests.slack.office import Office, office


def waiting(it: Office) -> None:
    it.life.mall.release("v2", BAD)
    it.until("awaiting approval")


def refused(reason: str) -> float:
    wanted = f'rollbackd_requests_refused_total{{reason="{reason}"}} '
    lines = TELEMETRY.exposition().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(wanted))


@pytest.mark.parametrize("http", [False, True])
def test_a_press_that_is_delivered_twice_acts_once(
    slack: FakeSlack, tmp_path: Path, http: bool
) -> None:
    with office(slack, tmp_path, http=http) as it:
        waiting(it)
        user = it.http_user() if http else it.user()
        said = user.press(it.message, "Approve", times=2)
        assert sorted(line.split(":")[0] for line in said.splitlines()) == [
            "Done",
            "this is no longer current, nothing was done",
        ]
        it.until("rolled back")
        assert it.life.mall.writes == ["shop"]


def test_two_people_who_press_at_once_decide_once(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, deciders=Deciders(users=("U1", "U2"))) as it:
        waiting(it)
        message = replace(it.message)
        users = [it.user("U1"), it.user("U2")]
        presses = [
            threading.Thread(target=user.send, args=("interactive", user.pressed(message, button)))
            for user, button in zip(users, message.buttons().values(), strict=True)
        ]
        for press in presses:
            press.start()
        for press in presses:
            press.join(30)
        slack.wait_until(lambda: len(slack.answers) == 2)
        said = sorted(answer["text"].split(":")[0] for answer in slack.answers)
        assert said == ["Done", "this is no longer current, nothing was done"]


def test_a_person_rolls_back_what_nothing_is_said_against(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path, http=True, mode=Mode.OBSERVE) as it:
        it.life.mall.release("v2", GOOD)
        message = it.until("observing")
        assert (
            it.http_user().press(message, "Roll back now") == "Done: @ann wants it rolled back now"
        )
        it.life.settle()
        assert it.life.mall.writes == ["shop"]
        it.until("rolled back", "needs a human")
        assert "at the demand of @ann" in slack.thread(message)


def test_snooze_and_resume(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True, mode=Mode.ENFORCE) as it:
        it.life.mall.release("v2", BAD)
        it.life.tick()
        it.pump.once()
        it.http_user().press(it.message, "Snooze 30 min")
        it.pump.once()
        assert "shops/shop: held (snoozed)" in it.message.text
        assert set(it.message.buttons()) == {"Roll back now", "Resume"}
        it.life.tick(20)
        assert it.life.mall.writes == []
        assert it.http_user().press(it.message, "Resume") == "Done: resumed by @ann"
        it.until("rolled back")


def test_who_is_not_named_decides_nothing(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True) as it:
        waiting(it)
        said = it.http_user("U2").press(it.message, "Approve")
        assert said == "@bob is not among those who may decide under this policy"
        assert it.life.view().phase == "awaiting approval"


def test_the_author_does_not_approve_their_own_change(slack: FakeSlack, tmp_path: Path) -> None:
    mall = Mall()
    mall.shops["shop"].annotations = {"rollbackd.io/author": "ann@shop.example"}
    both = Deciders(users=("U1",), groups=("S1",), four_eyes=True)
    with office(slack, tmp_path, mall=mall, deciders=both, http=True) as it:
        waiting(it)
        assert "is the author" in it.http_user("U1").press(it.message, "Approve")
        assert it.http_user("U2").press(it.message, "Approve").startswith("Done")


def test_slack_that_does_not_say_who_it_is_gets_nothing_done(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path, http=True) as it:
        waiting(it)
        slack.throttled["users.info"] = [5]
        assert "nothing was done, try again" in it.http_user().press(it.message, "Approve")
        assert it.life.view().phase == "awaiting approval"
        assert it.http_user().press(it.message, "Approve").startswith("Done")


def test_only_a_key_that_was_given_out_for_it_decides(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True) as it:
        waiting(it)
        user, good = it.http_user(), it.message.buttons()
        forgeries = [good["Approve"] | {"value": v} for v in ("", "0" * 16, "x" * 2000, "../x")]
        forgeries.append(good["Reject"] | {"action_id": "decide:approve"})
        for button in forgeries:
            assert "no longer current" in user.press_button(it.message, button)
        unknown = good["Reject"] | {"action_id": "decide:explode"}
        assert "another version" in user.press_button(it.message, unknown)
        assert it.life.view().phase == "awaiting approval"


def test_slack_is_acknowledged_before_the_decision_is_written(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path) as it:
        waiting(it)
        user, message = it.user(), it.message
        with it.people._lock:  # somebody else's decision takes its time
            user.send("interactive", user.pressed(message, message.buttons()["Approve"]))
            assert slack.answers == []
        slack.wait_until(lambda: slack.answers)
        assert it.life.view().phase in {"acting", "verifying"}


# Over HTTP


def test_over_http_signed_requests_are_taken(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True) as it:
        waiting(it)
        user = it.http_user()
        assert "shops/shop" in str(user.type("status")["blocks"])
        assert "shops/shop" in str(user.open_home())
        assert user.press(it.message, "Reject").startswith("Done: the plan was rejected by @ann")


def test_what_slack_did_not_sign_is_refused_and_counted(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True) as it:
        waiting(it)
        user = it.http_user("U2")
        press = user.pressed(it.message, it.message.buttons()["Approve"])
        body, headers = user.signed("interactive", press)
        unsigned = {key: value for key, value in headers.items() if "X-" not in key}
        forgeries = [
            (body, headers | {"X-Slack-Signature": "v0=" + "0" * 64}, 401, "signature"),
            (body.replace(b"U2", b"U1"), headers, 401, "signature"),
            (body, unsigned, 401, "signature"),
            (body, headers | {"X-Slack-Request-Timestamp": "now"}, 401, "signature"),
            (body, headers | {"X-Slack-Request-Timestamp": "²"}, 401, "signature"),
            (body, headers | {"X-Slack-Signature": "v0=ü"}, 401, "signature"),
            (*user.signed("interactive", press, secret="wrong"), 401, "signature"),
            (*user.signed("interactive", press, age_s=400), 401, "signature"),
            (*user.signed("interactive", press, age_s=-400), 401, "signature"),
            (body + b"x" * MAX_BODY, headers, 413, "too large"),
            (b"\xff\xfe", headers, 400, "not text"),
        ]
        for forged, signed, status, reason in forgeries:
            before = refused(reason)
            answer = user.post(forged, signed)
            assert (answer.status_code, refused(reason)) == (status, before + 1)
        assert it.life.view().phase == "awaiting approval"


def test_a_request_that_is_replayed_is_refused(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True) as it:
        it.life.mall.release("v2")
        it.until("observing")
        user = it.http_user()
        press = user.pressed(it.message, it.message.buttons()["Snooze 30 min"])
        good = user.signed("interactive", press)
        stolen = (good[0] + b"&x=1", good[1])
        assert user.post(*stolen).status_code == 401  # and does not keep the good one out
        assert [user.post(*good).status_code for _ in range(3)] == [200, 409, 409]
        slack.wait_until(lambda: slack.answers)
        decisions = list(it.life.journal.entries(kinds=frozenset({"decision"})))
        assert len(decisions) == 1


def test_in_socket_mode_nothing_is_taken_over_http(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path) as it:
        waiting(it)
        user = it.http_user()
        press = user.pressed(it.message, it.message.buttons()["Approve"])
        assert user.post(*user.signed("interactive", press)).status_code == 404


# The command and the home tab


def test_the_command(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path) as it:
        user = it.user()
        assert "Nothing is being rolled out" in str(user.type("status")["blocks"])
        it.life.mall.release("v2")
        it.until("observing")
        assert "`shops/shop`" in str(user.type("status")["blocks"])
        assert "evidence" in str(user.type("explain shop")["blocks"])
        assert "explain WATCH" in user.type("help")["text"]
        assert "explain WATCH" in user.type("")["text"]
        assert "did you mean" in user.type("explain shap")["text"]
        assert "no number of minutes" in user.type("snooze shop ever")["text"]
        assert user.type("snooze shop 5")["text"] == "Done: snoozed by @ann for 5 min"
        assert user.type("snooze shop 5")["response_type"] == "ephemeral"


def test_a_rollback_by_command_is_shown_before_it_is_done(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path, http=True) as it:
        it.life.mall.release("v2")
        message = it.until("observing")
        offer = it.http_user().type("rollback shop")["blocks"]
        assert it.life.mall.writes == []
        (button,) = offer[-1]["elements"]
        assert "shops/shop from v2 to v1" in button["confirm"]["text"]["text"]
        assert it.http_user("U2").press_button(message, button).startswith("@bob is not")
        assert it.http_user().press_button(message, button).startswith("Done")
        it.life.settle()
        assert it.life.mall.writes == ["shop"]
        assert "nothing to roll back" in it.http_user().type("rollback shop")["text"]


def test_the_command_decides_for_nobody_who_may_not(slack: FakeSlack, tmp_path: Path) -> None:
    with office(slack, tmp_path, http=True) as it:
        it.life.mall.release("v2")
        it.until("observing")
        assert "is not among those" in it.http_user("U2").type("snooze shop")["text"]
        assert it.life.view().phase == "observing"


def test_the_home_tab_shows_what_is_watched(slack: FakeSlack, tmp_path: Path) -> None:
    mall = Mall(*(f"shop{i}" for i in range(40)))
    with office(slack, tmp_path, mall=mall) as it:
        for name in mall.shops:
            mall.release("v2", shop=name)
        it.life.tick()
        blocks = it.user().open_home()
        assert "and 10 more" in str(blocks)
        assert len(blocks) == 33


# After the end of a watch


def test_what_was_only_reported_is_rolled_back_by_its_button(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path, http=True, mode=Mode.OBSERVE) as it:
        it.pump.once()
        it.life.mall.release("v2", BAD)
        message = it.until("reported")
        (button,) = message.buttons()
        assert button == "Roll back now"
        user = it.http_user()
        assert user.press(message, button).startswith("Done: @ann wants it rolled back now")
        it.life.settle()
        assert it.life.mall.writes == ["shop"]
        it.until("rolled back")
        assert it.message is message  # updated, not posted anew
        assert "rolled back by @ann" in message.shown().lower()


def test_a_hold_that_outlives_its_watch_is_released_by_its_button(
    slack: FakeSlack, tmp_path: Path
) -> None:
    with office(slack, tmp_path, mode=Mode.ENFORCE) as it:
        it.pump.once()
        it.life.mall.release("v2", BAD)
        message = it.until("rolled back")
        assert message.buttons() == {}
        view = it.life.view()
        it.life.mall.barrier.shut[view.id] = "the sync of <!channel> a/b"
        it.life.controller.watches.redraw(view.id)
    with office(slack, tmp_path, before=it) as later:
        later.life.tick()
        later.pump.once()
        assert "the sync of &lt;!channel&gt; a/b" in message.shown()
        assert set(message.buttons()) == {"Release hold"}
        said = later.user("U2").press(message, "Release hold")
        assert said == "@bob is not among those who may decide under this policy"
        said = later.user().press(message, "Release hold", times=2)
        assert sorted(line.split(":")[0] for line in said.splitlines()) == [
            "Done",
            "this is no longer current, nothing was done",
        ]
        later.pump.once()
        assert message.buttons() == {}
        assert later.message is message
        assert it.life.mall.barrier.let_go == ["the sync of <!channel> a/b for @ann"]
