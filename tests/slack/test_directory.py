"""Who somebody is, as Slack tells it."""

import pytest
from slack_sdk import WebClient

from actions.ports import Transient
from rollbackd.slack.directory import REMEMBER_S, Directory
from tests.fakes.slack import FakeSlack
from tests.fakes.slack.fake import BOT_TOKEN
from tests.process.mall import Clock


def directory(slack: FakeSlack, clock: Clock | None = None) -> Directory:
    return Directory(WebClient(BOT_TOKEN, base_url=f"{slack.api}/"), clock or Clock())


def test_a_person_is_known_by_names_and_address(slack: FakeSlack) -> None:
    bob = directory(slack).person("U2", "bob")
    assert (bob.name, bob.id, bob.via) == ("@bob", "U2", "slack")
    assert all(map(bob.is_called, ("U2", "bob", "@bob", "Bob@shop.example")))
    assert not bob.is_called("ann")


def test_a_name_that_somebody_chose_is_no_identity(slack: FakeSlack) -> None:
    slack.real_names["U2"] = "ann@shop.example"
    bob = directory(slack).person("U2", "U1")
    assert bob.is_called("ann@shop.example")  # as an author, they would not decide
    assert not bob.is_surely("ann@shop.example")
    assert not bob.is_surely("U1")
    assert bob.is_surely("bob@shop.example")


def test_the_word_of_another_organisation_is_not_taken(slack: FakeSlack) -> None:
    slack.foreigners = {"U2"}
    bob = directory(slack).person("U2", "bob")
    assert not bob.is_surely("bob@shop.example")
    assert bob.is_surely("U2")


def test_groups_are_remembered_for_a_short_time(slack: FakeSlack) -> None:
    clock = Clock()
    bob = directory(slack, clock).person("U2", "bob")
    assert bob.is_member("S1")
    slack.groups["S1"] = []
    assert bob.is_member("S1")
    clock.at += REMEMBER_S
    assert not bob.is_member("S1")


def test_what_the_app_may_not_ask_is_not_assumed(slack: FakeSlack) -> None:
    slack.lacking = {"users:read", "usergroups:read"}
    bob = directory(slack).person("U2", "bob")
    assert not bob.is_called("bob@shop.example")
    assert not bob.is_member("S1")


def test_what_slack_does_not_tell_now_is_no_answer(slack: FakeSlack) -> None:
    who = directory(slack)
    slack.throttled["users.info"] = [5]
    with pytest.raises(Transient):
        who.person("U2", "bob")
    bob = who.person("U2", "bob")
    with pytest.raises(Transient):
        bob.is_member("S9")
    slack.down = True
    with pytest.raises(Transient, match="Slack does not answer"):
        bob.is_member("S1")
