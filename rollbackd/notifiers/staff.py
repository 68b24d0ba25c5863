"""From settings to running notifiers; each library is imported only when it is asked for."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import inf
from types import MappingProxyType
from typing import assert_never

from starlette.routing import Route

from actions.ports import Journal
from rollbackd.config.notifiers import (
    AlertmanagerSettings,
    AppriseSettings,
    GrafanaSettings,
    NotifierSettings,
    PagerDutySettings,
    SlackSettings,
    WebhookSettings,
)
from rollbackd.config.settings import Config
from rollbackd.decisions import Decisions
from rollbackd.notifiers.links import Links
from rollbackd.notifiers.port import Notifier
from rollbackd.notifiers.pump import Pace, Pump
from rollbackd.telemetry import Telemetry

Start = Callable[[], None]

REFRESH_S = 60.0
"""How often a message that is updated shows how the evidence grew."""


@dataclass(slots=True)
class Staff:
    """Everybody who tells people, and takes what they answer.

    Attributes:
        routes: to be mounted in the daemon's HTTP server. starts: what is to be started.
        stack: what is to be closed.
    """

    routes: list[Route] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Begin to tell and to listen; returns at once, also while nobody answers."""
        for start in self.starts:
            start()

    def close(self) -> None:
        """End; what was not told yet is told after the next start."""
        self.stack.close()


def hire(
    config: Config,
    decisions: Decisions,
    journal: Journal,
    telemetry: Telemetry,
    others: Mapping[str, Notifier] = MappingProxyType({}),
) -> Staff:
    """Build every configured notifier, connecting to nobody yet.

    Args:
        config: validated settings.
        decisions: where what people answer goes.
        journal: what is followed.
        telemetry: counts.
        others: notifiers that are built elsewhere, by name; closed with the staff.

    Raises:
        SecretError or ValueError: one cannot be built; those before it are closed.
    """
    staff = Staff()
    with ExitStack() as stack:

        def employ(name: str, notifier: Notifier, pace: Pace) -> None:
            telemetry.expect_notifier(name)
            pump = Pump(
                name,
                notifier,
                journal=journal,
                telemetry=telemetry,
                now=time.time,
                pace=pace,
                live=decisions.views,
            )
            stack.callback(pump.close)
            staff.starts.append(pump.start)

        for name, notifier in others.items():
            employ(name, notifier, Pace())
        for settings in config.notifiers:
            made = _notifier(settings, config.links, decisions, telemetry, staff, stack)
            updates = isinstance(settings.receiver, SlackSettings)
            pace = Pace(
                only_trouble=settings.only_trouble, refresh_s=REFRESH_S if updates else inf
            )
            employ(settings.name, made, pace)
        staff.stack = stack.pop_all()
    return staff


def _notifier(
    settings: NotifierSettings,
    links: Links,
    decisions: Decisions,
    telemetry: Telemetry,
    staff: Staff,
    stack: ExitStack,
) -> Notifier:
    match settings.receiver:
        case SlackSettings() as slack:
            return _slack(slack, links, decisions, telemetry, staff, stack)
        case WebhookSettings() as webhook:
            return _webhook(webhook, links)
        case PagerDutySettings(url=url, routing_key=key):
            from rollbackd.notifiers.pagerduty import PagerDuty  # noqa: PLC0415  only when used

            return PagerDuty(url, key, links)
        case AppriseSettings(url=secret):
            _need("apprise", "notify", settings.name)
            from rollbackd.notifiers.chat import Chat  # noqa: PLC0415  an extra

            return Chat(secret, links)
        case AlertmanagerSettings(url=url, labels=labels):
            from rollbackd.notifiers.alertmanager import Alertmanager  # noqa: PLC0415

            return Alertmanager(url, labels, links, time.time)
        case GrafanaSettings(url=url, token=token, tags=tags):
            from rollbackd.notifiers.grafana import Grafana  # noqa: PLC0415  only when used

            return Grafana(url, token, tags)
        case _:
            assert_never(settings.receiver)


def _slack(
    settings: SlackSettings,
    links: Links,
    decisions: Decisions,
    telemetry: Telemetry,
    staff: Staff,
    stack: ExitStack,
) -> Notifier:
    _need("slack_bolt", "slack", "slack")
    from rollbackd.slack.workspace import join  # noqa: PLC0415  an extra

    joined = join(settings, links, decisions, telemetry)
    stack.callback(joined.close)
    staff.routes += joined.routes
    staff.starts += joined.starts
    return joined.messenger


def _webhook(settings: WebhookSettings, links: Links) -> Notifier:
    from rollbackd.notifiers.webhook import Webhook  # noqa: PLC0415  only when used

    template = settings.template
    if settings.template_file is not None:
        try:
            template = settings.template_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the template {settings.template_file} cannot be read") from error
    return Webhook(
        settings.url,
        secret=settings.secret,
        template=template,
        content_type=settings.content_type,
        links=links,
        now=time.time,
    )


def _need(module: str, extra: str, name: str) -> None:
    """Refuse a notifier whose library is not installed. Raises ValueError."""
    if find_spec(module) is None:
        raise ValueError(f"notifier {name} needs: pip install 'rollbackd[{extra}]'")
