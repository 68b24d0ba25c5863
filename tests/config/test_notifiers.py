"""``notifiers``, ``links`` and ``deciders``: what may be written, and what is said of what may not."""

from pathlib import Path
from typing import Any

import pytest

from rollbackd.config import ConfigError, load
from rollbackd.config.notifiers import SlackSettings, WebhookSettings
from rollbackd.config.secrets import Secret
from tests.config.files import minimal, write

SLACK = {"channel": "C024BE91L", "bot_token_env": "BOT", "app_token_file": "app-token"}
EVERY: list[dict[str, Any]] = [
    {"name": "slack", "slack": SLACK},
    {"name": "hook", "webhook": {"url": "https://hook.example", "secret_env": "KEY"}},
    {"name": "duty", "tell": "trouble", "pagerduty": {"routing_key_env": "KEY"}},
    {"name": "mail", "apprise": {"url_env": "MAIL"}},
    {"name": "alerts", "alertmanager": {"url": "http://am:9093", "labels": {"team": "shop"}}},
    {"name": "grafana", "grafana": {"url": "http://grafana:3000", "token_file": "token"}},
]


def file(folder: Path, **parts: object) -> Path:
    return write(folder, minimal() | parts)


def told(folder: Path, **parts: object) -> str:
    with pytest.raises(ConfigError) as found:
        load(file(folder, **parts))
    return str(found.value)


def test_every_kind_is_read(tmp_path: Path) -> None:
    config = load(file(tmp_path, notifiers=EVERY))
    slack, hook, duty, mail, *_ = config.notifiers
    assert slack.receiver == SlackSettings(
        channel="C024BE91L",
        api="https://slack.com/api",
        bot_token=Secret(env="BOT"),
        app_token=Secret(file=tmp_path / "app-token"),
    )
    assert hook.receiver == WebhookSettings(
        "https://hook.example", "application/json", Secret(env="KEY")
    )
    assert [n.only_trouble for n in (slack, hook, duty, mail)] == [False, False, True, True]
    assert set(config.secrets()) == {
        "notifiers.slack.bot_token",
        "notifiers.slack.app_token",
        "notifiers.hook.secret",
        "notifiers.duty.routing_key",
        "notifiers.mail.url",
        "notifiers.grafana.token",
    }


def test_who_may_decide_is_read_and_by_default_nobody_may(tmp_path: Path) -> None:
    values = minimal()
    values["policies"][0]["deciders"] = {"users": ["U1"], "groups": ["S1"], "four_eyes": True}
    config = load(write(tmp_path, values))
    assert config.deciders("default").users == ("U1",)
    assert config.deciders("default").four_eyes
    assert load(write(tmp_path, minimal())).deciders("default").users == ()
    assert config.deciders("another").groups == ()


@pytest.mark.parametrize(
    ("notifier", "what"),
    [
        ({}, "exactly one of slack, webhook, pagerduty, apprise, alertmanager, grafana"),
        ({"slack": SLACK, "webhook": {"url": "http://x"}}, "not slack and webhook"),
        ({"slack": SLACK | {"channel": "#rollouts"}}, "is no channel's id"),
        ({"slack": SLACK | {"bot_token_file": "x"}}, "exactly one of bot_token_file and"),
        ({"slack": {"channel": "C02", "bot_token_env": "B"}}, "exactly one way from Slack"),
        ({"slack": SLACK | {"signing_secret_env": "S"}}, "exactly one way from Slack"),
        ({"slack": SLACK | {"bot_token": "xoxb-1"}}, "bot_token"),
        ({"pagerduty": {}}, "exactly one of routing_key_file and routing_key_env"),
        ({"apprise": {"url": "mailtos://u:p@host"}}, "url"),
        ({"webhook": {"url": "http://x", "template": "x", "template_file": "y"}}, "template, too"),
        ({"webhook": {}}, "exactly one of url, url_file and url_env"),
        ({"webhook": {"url": "http://x", "url_env": "X"}}, "exactly one of url, url_file and"),
        ({"webhook": {"url": "http://u:p@x"}}, "must not hold a user or a password"),
        ({"webhook": {"url": "http://x", "content_type": "a\nb"}}, "cannot be an HTTP header"),
        ({"alertmanager": {"url": "http://x", "labels": {"a-b": "c"}}}, "cannot be a label"),
        ({"grafana": {"url": "http://x"}}, "exactly one of token_file and token_env"),
        ({"tell": "sometimes", "slack": SLACK}, "tell"),
    ],
)
def test_what_cannot_work_is_told(tmp_path: Path, notifier: dict[str, Any], what: str) -> None:
    assert what in told(tmp_path, notifiers=[{"name": "n", **notifier}])


def test_names_are_unique(tmp_path: Path) -> None:
    assert 'is called "slack", too' in told(tmp_path, notifiers=[EVERY[0], EVERY[0]])


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ("grafana/{name}", "is no web address"),
        ("https://g/{nme}", "there is no {nme}"),
        ("https://g/{name", "a brace too many or too few"),
        ("https://g/{}", "there is no {}"),
        ("https://g/{name.__class__}", "there is no {name.__class__}"),
    ],
)
def test_a_link_that_cannot_be_filled_in_is_told(tmp_path: Path, link: str, what: str) -> None:
    assert what in told(tmp_path, links={"dashboard": link})
