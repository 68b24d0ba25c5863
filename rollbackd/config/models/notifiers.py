"""``notifiers`` and ``links``: who is told of rollouts, and what messages link to."""

import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from rollbackd.config import notifiers
from rollbackd.config.models.base import Bool, Model, Name, Text, Url, path, secret
from rollbackd.config.quantities import fault, shown
from rollbackd.config.secrets import Secret
from rollbackd.notifiers.links import FIELDS, Links, unknown_fields


class Tell(StrEnum):
    """What a notifier is told."""

    ALL = "all"
    TROUBLE = "trouble"


def _one_of_two(key: str) -> Callable[[str | None, ValidationInfo], str | None]:
    """Return a check that a secret is given once: in a file, or in the environment."""

    def check(env: str | None, info: ValidationInfo) -> str | None:
        if (env is None) == (info.data.get(f"{key}_file") is None):
            raise fault(f"exactly one of {key}_file and {key}_env is needed")
        return env

    return check


def _one_at_most(key: str) -> Callable[[str | None, ValidationInfo], str | None]:
    def check(env: str | None, info: ValidationInfo) -> str | None:
        if env is not None and info.data.get(f"{key}_file") is not None:
            raise fault(f"there is {key}_file, too", "keep one of the two")
        return env

    return check


def _needed(base: Path, file: str | None, env: str | None) -> Secret:
    found = secret(base, file, env)
    if found is None:
        raise AssertionError("the model lets none pass without it")
    return found


class SlackModel(Model):
    """A Slack channel: a message for each rollout, kept up to date, with buttons.

    Who may press them is said by each policy's deciders. Needs the extra rollbackd[slack].
    """

    channel: Text
    """Id of the channel (C...); the app must be a member of it."""
    bot_token_file: Text | None = None
    """File with the bot's token (xoxb-...)."""
    bot_token_env: Text | None = None
    """Environment variable with it."""
    app_token_file: Text | None = None
    """File with the app-level token (xapp-...): Socket Mode, which needs no ingress."""
    app_token_env: Text | None = None
    """Environment variable with it."""
    signing_secret_file: Text | None = None
    """File with the signing secret: requests come over HTTP, to /slack/events."""
    signing_secret_env: Text | None = None
    """Environment variable with it. Exactly one of app token and signing secret is needed."""
    pictures: Bool = True
    """Upload a plot to the thread; needs the extra rollbackd[plots] and the scope files:write."""
    api: Url = "https://slack.com/api"
    """Base address of Slack's Web API."""

    _bot = field_validator("bot_token_env")(_one_of_two("bot_token"))
    _app = field_validator("app_token_env")(_one_at_most("app_token"))
    _signing = field_validator("signing_secret_env")(_one_at_most("signing_secret"))

    @field_validator("channel")
    @classmethod
    def _is_id(cls, channel: str) -> str:
        if not re.fullmatch(r"[CGD][A-Z0-9]{2,}", channel):
            raise fault(
                f"{shown(channel)} is no channel's id",
                "such as C024BE91L: see the channel's details",
            )
        return channel

    @field_validator("signing_secret_env")
    @classmethod
    def _one_way_in(cls, env: str | None, info: ValidationInfo) -> str | None:
        socket = info.data.get("app_token_file") or info.data.get("app_token_env")
        http = env or info.data.get("signing_secret_file")
        if bool(socket) == bool(http):
            raise fault(
                "exactly one way from Slack to us is needed",
                "app_token_env for Socket Mode, or signing_secret_env for HTTP",
            )
        return env

    def settings(self, base: Path) -> notifiers.SlackSettings:
        """Return the frozen settings."""
        return notifiers.SlackSettings(
            channel=self.channel,
            api=self.api,
            bot_token=_needed(base, self.bot_token_file, self.bot_token_env),
            app_token=secret(base, self.app_token_file, self.app_token_env),
            signing_secret=secret(base, self.signing_secret_file, self.signing_secret_env),
            pictures=self.pictures,
        )


class WebhookModel(Model):
    """A signed POST for every state of a rollout."""

    url: Url | None = None
    """Address of the receiver."""
    url_file: Text | None = None
    """File with the address, when whoever knows it may post there."""
    url_env: Text | None = None
    """Environment variable with it. Exactly one of url, url_file and url_env is needed."""
    secret_file: Text | None = None
    """File with the key of the signature; without one nothing is signed."""
    secret_env: Text | None = None
    """Environment variable with it."""
    template: str = ""
    """Jinja template of the body; default: everything as JSON. Use |tojson for values."""
    template_file: Text | None = None
    """File that holds the template instead."""
    content_type: Text = "application/json"
    """Of the body."""

    _secret = field_validator("secret_env")(_one_at_most("secret"))

    @field_validator("url_env")
    @classmethod
    def _one_address(cls, env: str | None, info: ValidationInfo) -> str | None:
        given = [each for each in (info.data.get("url"), info.data.get("url_file"), env) if each]
        if "url" in info.data and len(given) != 1:
            raise fault("exactly one of url, url_file and url_env is needed")
        return env

    @field_validator("template_file")
    @classmethod
    def _one_template(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file is not None and info.data.get("template"):
            raise fault("there is template, too", "keep one of the two")
        return file

    @field_validator("content_type")
    @classmethod
    def _plain(cls, content_type: str) -> str:
        if not content_type.isascii() or not content_type.isprintable():
            raise fault(f"{shown(content_type)} cannot be an HTTP header")
        return content_type

    def settings(self, base: Path) -> notifiers.WebhookSettings:
        """Return the frozen settings."""
        return notifiers.WebhookSettings(
            url=self.url or _needed(base, self.url_file, self.url_env),
            content_type=self.content_type,
            secret=secret(base, self.secret_file, self.secret_env),
            template=self.template,
            template_file=path(base, self.template_file),
        )


class PagerDutyModel(Model):
    """PagerDuty's Events API v2: an incident while somebody should look, resolved afterwards."""

    routing_key_file: Text | None = None
    """File with the integration key."""
    routing_key_env: Text | None = None
    """Environment variable with it."""
    url: Url = "https://events.pagerduty.com"
    """Base address."""

    _key = field_validator("routing_key_env")(_one_of_two("routing_key"))

    def settings(self, base: Path) -> notifiers.PagerDutySettings:
        """Return the frozen settings."""
        key = _needed(base, self.routing_key_file, self.routing_key_env)
        return notifiers.PagerDutySettings(self.url, key)


class AppriseModel(Model):
    """Microsoft Teams, e-mail and many others, by apprise. Needs the extra rollbackd[notify].

    A message for each state, since these cannot be updated.
    """

    url_file: Text | None = None
    """File with apprise's address of the service, such as workflows://... or mailtos://..."""
    url_env: Text | None = None
    """Environment variable with it: it holds credentials."""

    _url = field_validator("url_env")(_one_of_two("url"))

    def settings(self, base: Path) -> notifiers.AppriseSettings:
        """Return the frozen settings."""
        return notifiers.AppriseSettings(_needed(base, self.url_file, self.url_env))


class AlertmanagerModel(Model):
    """Alertmanager: an alert RollbackdWatch while somebody should look, so its routes apply."""

    url: Url
    """Base address, such as http://alertmanager:9093."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Added to every alert, such as team: shop."""

    @field_validator("labels")
    @classmethod
    def _are_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name):
                raise fault(f"{shown(name)} cannot be a label", "letters, digits and _ only")
        return labels

    def settings(self) -> notifiers.AlertmanagerSettings:
        """Return the frozen settings."""
        return notifiers.AlertmanagerSettings(self.url, self.labels)


class GrafanaModel(Model):
    """Grafana: an annotation over the time of each watch."""

    url: Url
    """Base address."""
    token_file: Text | None = None
    """File with a service account's token that may write annotations."""
    token_env: Text | None = None
    """Environment variable with it."""
    tags: list[Text] = Field(default_factory=list)
    """Added to rollbackd, the namespace, the name and the phase."""

    _token = field_validator("token_env")(_one_of_two("token"))

    def settings(self, base: Path) -> notifiers.GrafanaSettings:
        """Return the frozen settings."""
        token = _needed(base, self.token_file, self.token_env)
        return notifiers.GrafanaSettings(self.url, token, tuple(self.tags))


class NotifierModel(Model, json_schema_extra={"minProperties": 2, "maxProperties": 3}):
    """A name and exactly one kind of notifier."""

    name: Name
    """Unique; in the journal and in metrics."""
    tell: Tell | None = None
    """all: every rollout from its beginning; trouble: only from when somebody should look at it.
    Default: all, and trouble for apprise."""
    slack: SlackModel | None = None
    """A Slack channel, with buttons."""
    webhook: WebhookModel | None = None
    """Any web service."""
    pagerduty: PagerDutyModel | None = None
    """PagerDuty."""
    apprise: AppriseModel | None = None
    """Microsoft Teams, e-mail, and what else apprise knows."""
    alertmanager: AlertmanagerModel | None = None
    """Prometheus' Alertmanager."""
    grafana: GrafanaModel | None = None
    """Annotations in Grafana."""

    def settings(self, base: Path) -> notifiers.NotifierSettings:
        """Return the frozen settings of the one kind that is there."""
        usual = Tell.TROUBLE if self.apprise else Tell.ALL
        only_trouble = (self.tell or usual) is Tell.TROUBLE
        return notifiers.NotifierSettings(self.name, self._receiver(base), only_trouble)

    def _receiver(self, base: Path) -> notifiers.ReceiverSettings:
        for kind in (self.slack, self.webhook, self.pagerduty, self.apprise, self.grafana):
            if kind is not None:
                return kind.settings(base)
        if self.alertmanager is not None:
            return self.alertmanager.settings()
        raise AssertionError("cross_checks.py lets exactly one kind pass")


def _template(text: str) -> str:
    if not re.match(r"https?://", text):
        raise fault(f"{shown(text)} is no web address", "begin with https://")
    try:
        unknown = unknown_fields(text)
    except ValueError as error:
        raise fault(f"{shown(text)} has a brace too many or too few ({error})") from error
    if unknown:
        raise fault(f"there is no {{{unknown[0]}}}", f"known: {', '.join(FIELDS)}")
    return text


LinkTemplate = Annotated[Text, AfterValidator(_template)]


class LinksModel(Model):
    """Addresses that messages link to.

    {cluster}, {namespace}, {kind}, {name}, {canary}, {baseline}, {watch}, {from_ms} and {to_ms} are
    filled in, quoted.
    """

    dashboard: LinkTemplate | None = None
    """Such as https://grafana/d/shop?var-namespace={namespace}&from={from_ms}&to={to_ms}."""
    traces: LinkTemplate | None = None
    """Where example traces are."""
    page: LinkTemplate | None = None
    """Where this rollout can be looked at in full."""

    def settings(self) -> Links:
        """Return the frozen templates."""
        return Links(self.dashboard or "", self.traces or "", self.page or "")
