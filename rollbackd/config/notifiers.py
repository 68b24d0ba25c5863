"""Settings of the notifiers: frozen values, as in ``settings.py``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollbackd.config.secrets import Secret


@dataclass(frozen=True, slots=True)
class SlackSettings:
    """A channel of a Slack workspace.

    Attributes:
        channel: its id. api: base address of the Web API.
        bot_token: with it messages are written and people looked up.
        app_token: opens Socket Mode connections. signing_secret: of requests over HTTP. One of
            the two is there.
        pictures: whether plots are uploaded.
    """

    channel: str
    api: str
    bot_token: Secret
    app_token: Secret | None = None
    signing_secret: Secret | None = None
    pictures: bool = True


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """Any web service; ``template`` is Jinja, "" for everything as JSON.

    ``url`` is a secret when whoever knows it may post there.
    """

    url: str | Secret
    content_type: str
    secret: Secret | None = None
    template: str = ""
    template_file: Path | None = None


@dataclass(frozen=True, slots=True)
class PagerDutySettings:
    """A PagerDuty service's Events API v2 integration."""

    url: str
    routing_key: Secret


@dataclass(frozen=True, slots=True)
class AppriseSettings:
    """A service that apprise knows; its address holds credentials."""

    url: Secret


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings:
    """A Prometheus Alertmanager; ``labels`` are added to every alert."""

    url: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GrafanaSettings:
    """A Grafana whose dashboards show annotations with these tags."""

    url: str
    token: Secret
    tags: tuple[str, ...] = ()


ReceiverSettings = (
    SlackSettings
    | WebhookSettings
    | PagerDutySettings
    | AppriseSettings
    | AlertmanagerSettings
    | GrafanaSettings
)


@dataclass(frozen=True, slots=True)
class NotifierSettings:
    """Who is told; ``only_trouble``: nothing before somebody should look at a rollout."""

    name: str
    receiver: ReceiverSettings
    only_trouble: bool = False

    def secrets(self) -> dict[str, Secret]:
        """Return its secrets by what they are."""
        found: dict[str, Secret | None]
        match self.receiver:
            case SlackSettings() as slack:
                found = {
                    "bot_token": slack.bot_token,
                    "app_token": slack.app_token,
                    "signing_secret": slack.signing_secret,
                }
            case WebhookSettings(url=url, secret=secret):
                found = {"secret": secret, "url": url if isinstance(url, Secret) else None}
            case PagerDutySettings(routing_key=key):
                found = {"routing_key": key}
            case AppriseSettings(url=url):
                found = {"url": url}
            case GrafanaSettings(token=token):
                found = {"token": token}
            case AlertmanagerSettings():
                found = {}
        return {what: secret for what, secret in found.items() if secret is not None}
