"""Each notifier against a stand-in for its service, over real HTTP."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from actions.ports import Permanent, Transient
from rollbackd.config.secrets import Secret
from rollbackd.notifiers.alertmanager import KEEP_S, Alertmanager
from rollbackd.notifiers.chat import Chat
from rollbackd.notifiers.grafana import Grafana
from rollbackd.notifiers.links import Links
from rollbackd.notifiers.pagerduty import PagerDuty
from rollbackd.notifiers.port import Memo, Notifier, Throttled
from rollbackd.notifiers.webhook import Webhook
from rollbackd.views import ExampleView, WatchView
from tests.cli import sample_views
from tests.fakes.receivers import (
    FakeAlertmanager,
    FakeGrafana,
    FakePagerDuty,
    Receiver,
    serving,
)
from tests.process.mall import Clock

LINKS = Links(page="https://rollbackd.example/{watch}")
HOSTILE = 'shop/"};rm <!channel> \n\u202e{{ 7*7 }}'


def view(phase: str, **fields: object) -> WatchView:
    changed = replace(sample_views.degraded(), phase=phase, note=f"because {phase}")
    return replace(changed, **fields)  # type: ignore[arg-type]


@dataclass
class Desk:
    """Tells a notifier, remembering as the pump does; in JSON, so that nothing else gets through."""

    notifier: Notifier
    memories: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def tell(self, view: WatchView, delivery: str = "d1") -> None:
        def write(data: Mapping[str, Any]) -> None:
            self.memories[view.id] = json.loads(json.dumps(data))

        self.notifier.tell(view, Memo(self.memories.get(view.id, {}), write, delivery))


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], Secret]:
    def made(text: str) -> Secret:
        file = tmp_path / "secret"
        file.write_text(text)
        return Secret(file=file)

    return made


Secrets = Callable[[str], Secret]
Make = Callable[[Receiver, Secrets], Notifier]


def webhook(url: str | Secret, secret: Secret | None = None, template: str = "") -> Webhook:
    return Webhook(
        url, secret=secret, template=template, content_type="application/json",
        links=LINKS, now=Clock(),
    )  # fmt: skip


MAKERS: dict[str, tuple[type[Receiver], Make]] = {
    "webhook": (Receiver, lambda r, s: webhook(r.url, s("k3y"))),
    "pagerduty": (FakePagerDuty, lambda r, s: PagerDuty(r.url, s("R0UTE"), LINKS)),
    "alertmanager": (FakeAlertmanager, lambda r, _: Alertmanager(r.url, {}, LINKS, Clock())),
    "grafana": (FakeGrafana, lambda r, s: Grafana(r.url, s("T0KEN"), ())),
    "apprise": (Receiver, lambda r, s: Chat(s(r.url.replace("http:", "json:")), LINKS)),
}


@contextmanager
def at_work(kind: str, secret: Secrets) -> Iterator[tuple[Any, Desk]]:
    fake, make = MAKERS[kind]
    with serving(fake()) as receiver:
        notifier = make(receiver, secret)
        yield receiver, Desk(notifier)
        notifier.close()


every = pytest.mark.parametrize("kind", MAKERS)


@every
def test_every_state_is_taken_also_one_with_hostile_names(kind: str, secret: Secrets) -> None:
    with at_work(kind, secret) as (receiver, desk):
        for phase in ("observing", "held", "degraded", "acting", "rolled back"):
            desk.tell(view(phase))
            desk.tell(
                view(phase, id="other", workload=HOSTILE, canary=HOSTILE, reasons=(HOSTILE,))
            )
        assert receiver.requests


@every
@pytest.mark.parametrize("status", [500, 502, 401, 403, 302])
def test_what_may_pass_is_tried_again(kind: str, status: int, secret: Secrets) -> None:
    with at_work(kind, secret) as (receiver, desk):
        receiver.troubles = [(status, {"Location": "/elsewhere"})]
        with pytest.raises(Transient):
            desk.tell(view("degraded"))
        desk.tell(view("degraded"))
        assert len(receiver.requests) == 2


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"apprise"}))
def test_patience_is_shown_and_what_is_never_taken_is_given_up(kind: str, secret: Secrets) -> None:
    with at_work(kind, secret) as (receiver, desk):
        for value, patience in (("17", 17.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 30.0)):
            receiver.troubles = [(429, {"Retry-After": value})]
            with pytest.raises(Throttled) as found:
                desk.tell(view("degraded"))
            assert found.value.retry_after_s == patience
        receiver.troubles = [(400, {})]
        with pytest.raises(Permanent):
            desk.tell(view("degraded"))


@every
def test_an_outage_is_passing_and_no_secret_is_told(kind: str, secret: Secrets) -> None:
    with at_work(kind, secret) as (receiver, desk):
        port = receiver.url.rpartition(":")[2]
    with pytest.raises(Transient) as found:
        desk.tell(view("degraded"))
    told: BaseException | None = found.value
    while told is not None:
        assert not any(text in str(told) for text in ("k3y", "R0UTE", "T0KEN", port))
        told = told.__cause__


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - {"alertmanager"}))
def test_a_secret_that_cannot_be_read_now_is_passing(
    kind: str, secret: Secrets, tmp_path: Path
) -> None:
    with at_work(kind, secret) as (_, desk):
        (tmp_path / "secret").unlink()
        with pytest.raises(Transient):
            desk.tell(view("degraded"))


GUILTY = "traces: GET /cart: 9 new `SELECT items` calls per request"
EXAMPLES = (
    ExampleView("baseline", "GET /cart", "b1", "https://t.example/b1"),
    *(ExampleView("canary", "GET /cart", f"c{i}", f"https://t.example/c{i}") for i in range(4)),
    ExampleView("canary", "GET /<a>\nx", "d1", "https://t.example/d1?<'\">"),
    ExampleView("canary", "GET /cart", "n0"),
    ExampleView("canary", "GET /cart", "n1", "javascript:alert(1)"),
    ExampleView("baseline", "GET /cart", "b2", "https://t.example/b2"),
)
SHOWN = ("c0", "c1", "c2", "b1")


@every
def test_the_guilty_operation_is_named_with_traces_to_open(kind: str, secret: Secrets) -> None:
    """Three of the canary and one of the baseline; a webhook tells all there are."""
    (errors, *_) = sample_views.degraded().signals
    traces = replace(errors, name="traces", kind="trace", examples=EXAMPLES)
    with at_work(kind, secret) as (receiver, desk):
        desk.tell(view("degraded", reasons=(GUILTY,), signals=(traces,)))
        sent = b"".join(request.body for request in receiver.requests).decode()
    assert GUILTY in sent
    for trace in SHOWN:
        assert f"https://t.example/{trace}" in sent
    if kind != "webhook":
        assert not any(f"t.example/{other}" in sent for other in ("c3", "d1", "b2"))
        assert "javascript" not in sent


# Webhook


def test_a_webhook_is_signed_and_names_its_delivery(secret: Secrets) -> None:
    with at_work("webhook", secret) as (receiver, desk):
        for delivery in ("d1", "d1", "d2"):
            desk.tell(view("degraded"), delivery)
        first, again, other = receiver.requests
        assert first.headers["x-rollbackd-delivery"] == again.headers["x-rollbackd-delivery"]
        assert first.headers["x-rollbackd-delivery"] != other.headers["x-rollbackd-delivery"]
        signed = f"{first.headers['x-rollbackd-timestamp']}.".encode() + first.body
        wanted = hmac.new(b"k3y", signed, hashlib.sha256).hexdigest()
        assert first.headers["x-rollbackd-signature"] == f"sha256={wanted}"
        told = first.json()
        assert told["headline"] == "shop/checkout: the new version does harm"
        assert told["watch"]["id"] == view("degraded").id
        assert told["links"]["Details"].startswith("https://rollbackd.example/production%2Fshop")


def test_an_address_that_is_a_secret_is_read_for_each_post(secret: Secrets) -> None:
    with serving(Receiver()) as first, serving(Receiver()) as second:
        desk = Desk(webhook(secret(first.url)))
        desk.tell(view("degraded"))
        secret(second.url)
        desk.tell(view("acting"))
        assert (len(first.requests), len(second.requests)) == (1, 1)
        secret("no address at all")
        with pytest.raises(Transient) as found:
            desk.tell(view("verifying"))
        assert "no address at all" not in str(found.value)


def test_a_template_makes_the_body() -> None:
    template = '{"text": {{ headline|tojson }}, "to": {{ watch.canary|tojson }}}'
    with serving(Receiver()) as receiver:
        Desk(webhook(receiver.url, template=template)).tell(view("acting", canary=HOSTILE))
        assert receiver.requests[0].json() == {
            "text": "shop/checkout: rolling back",
            "to": HOSTILE,
        }
        assert "x-rollbackd-signature" not in receiver.requests[0].headers


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ watch.clear() }}",
        "{{ nobody.knows }}",
        "{% for i in range(999999999) %}x{% endfor %}",
        "{{ 1 / 0 }}",
        "{{ 'x' * 300000 }}",
    ],
)
def test_a_template_that_cannot_be_filled_sends_nothing(template: str) -> None:
    with serving(Receiver()) as receiver:
        with pytest.raises(Permanent, match="template"):
            Desk(webhook(receiver.url, template=template)).tell(view("acting"))
        assert receiver.requests == []


def test_what_is_no_template_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="template"):
        webhook("http://x", template="{{ headline")


# PagerDuty


def test_an_incident_is_open_while_somebody_should_look(secret: Secrets) -> None:
    with at_work("pagerduty", secret) as (service, desk):
        desk.tell(view("observing"))
        assert service.requests == []
        for phase in ("degraded", "acting", "verifying"):
            desk.tell(view(phase))
            (payload,) = service.incidents.values()
            assert payload["class"] == phase
            assert payload["custom_details"]["reasons"][0].startswith("errors 4.1 %")
        assert service.requests[0].json()["links"][0]["text"] == "Details"
        desk.tell(view("rolled back"))
        assert service.incidents == {}
        desk.tell(view("needs a human", id="other"))
        assert len(service.incidents) == 1


def test_a_snooze_that_a_person_asked_for_calls_nobody(secret: Secrets) -> None:
    with at_work("pagerduty", secret) as (service, desk):
        desk.tell(view("held", hold="snoozed"))
        assert service.requests == []
        desk.tell(view("held", hold="blind"))
        assert len(service.incidents) == 1


# Alertmanager


def test_an_alert_fires_until_all_is_well_and_changes_its_severity() -> None:
    clock = Clock()
    with serving(FakeAlertmanager()) as service:
        desk = Desk(Alertmanager(service.url, {"team": "shop"}, LINKS, clock))
        desk.tell(view("observing"))
        assert service.alerts == {}
        for phase, severity in (("acting", "critical"), ("verifying", "warning")):
            clock.at += 60
            desk.tell(view(phase))
            (alert,) = service.firing(clock.at)
            labels = alert["labels"]
            assert (labels["severity"], labels["team"]) == (severity, "shop")
            assert (labels["namespace"], labels["name"]) == ("shop", "checkout")
            assert alert["generatorURL"].startswith("https://rollbackd.example/")
        desk.tell(view("rolled back"))
        assert service.firing(clock.at) == []
        desk.tell(view("needs a human", id="a/b/Deployment/c@7c4b9"))
        assert service.firing(clock.at + KEEP_S - 1)
        assert not service.firing(clock.at + KEEP_S + 1)


# Grafana


def test_an_annotation_spans_the_watch_and_is_made_anew_when_deleted(secret: Secrets) -> None:
    with at_work("grafana", secret) as (service, desk):
        desk.tell(view("degraded"))
        desk.tell(view("rolled back"))
        ((number, annotation),) = service.annotations.items()
        assert annotation["tags"] == ["rollbackd", "shop", "checkout", "rolled back"]
        assert annotation["timeEnd"] - annotation["time"] == 230_000
        del service.annotations[number]
        desk.tell(view("rolled back"))
        assert len(service.annotations) == 1


# Apprise


def test_a_message_is_sent_for_each_state_once(secret: Secrets) -> None:
    with at_work("apprise", secret) as (receiver, desk):
        for phase in ("degraded", "degraded", "acting"):
            desk.tell(view(phase))
        first, second = receiver.requests
        assert first.json()["title"] == "shop/checkout: the new version does harm"
        assert "errors 4.1 % vs 0.4 %" in first.json()["message"]
        assert "Details: https://rollbackd.example/" in first.json()["message"]
        assert second.json()["title"] == "shop/checkout: rolling back"


def test_in_markdown_nothing_foreign_is_formatted_or_linked(secret: Secrets) -> None:
    with serving(Receiver()) as receiver:
        address = receiver.url.replace("http:", "json:") + "?format=markdown"
        chat = Chat(secret(address), LINKS)
        Desk(chat).tell(view("degraded", reasons=("[log in](https://evil.example) *x* <b>",)))
        told = receiver.requests[-1].json()["message"]
        assert "\\[log in\\]\\(https" in told
        assert "\\*x\\*" in told
        assert "[log in](" not in told


def test_in_an_annotation_nothing_foreign_is_html(secret: Secrets) -> None:
    with at_work("grafana", secret) as (receiver, desk):
        desk.tell(view("degraded", reasons=("<a href='https://evil.example'>log in</a>",)))
        told = receiver.requests[-1].json()["text"]
        assert "&lt;a href='https://evil.example'&gt;log in&lt;/a&gt;" in told
        assert "<" not in told


def test_an_address_that_apprise_does_not_know_is_refused_untold(secret: Secrets) -> None:
    with pytest.raises(ValueError, match="apprise does not know") as found:
        Chat(secret("nonsense://user:passw0rd@host"), LINKS)
    assert "passw0rd" not in str(found.value)
