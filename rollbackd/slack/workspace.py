"""From settings to a joined workspace: the messenger, the door, and the way to it."""

from collections.abc import Callable
from dataclasses import dataclass

from slack_sdk import WebClient
from starlette.routing import Route

from rollbackd.config.notifiers import SlackSettings
from rollbackd.decisions import Decisions
from rollbackd.notifiers.links import Links
from rollbackd.slack.door import Door
from rollbackd.slack.messenger import SlackMessenger
from rollbackd.slack.picture import draw
from rollbackd.slack.reception import Signed, Socket
from rollbackd.telemetry import Telemetry
from rollbackd.views import WatchView

TIMEOUT_S = 10
"""How long one call to Slack may take."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Everything about one workspace.

    Attributes:
        messenger: tells. routes: what Slack calls over HTTP. starts: what is to be started.
        closes: what is to be closed, in this order.
    """

    messenger: SlackMessenger
    routes: list[Route]
    starts: list[Callable[[], None]]
    closes: list[Callable[[], None]]

    def close(self) -> None:
        """Take no more from Slack."""
        for close in self.closes:
            close()


def join(
    settings: SlackSettings, links: Links, decisions: Decisions, telemetry: Telemetry
) -> Workspace:
    """Build everything, without a call to Slack yet: it may be down when the daemon starts.

    Raises:
        SecretError: a token cannot be read.
    """
    base_url = f"{settings.api}/"
    client = WebClient(settings.bot_token.read(), base_url=base_url, timeout=TIMEOUT_S)
    signing_secret = settings.signing_secret.read() if settings.signing_secret else ""
    app_token = settings.app_token.read() if settings.app_token else ""
    messenger = SlackMessenger(
        client, settings.channel, links, draw if settings.pictures else _nothing
    )
    door = Door(client, decisions, links, signing_secret)
    if app_token:
        socket = Socket(door.app, app_token, base_url)
        return Workspace(messenger, [], [socket.start], [socket.close, door.close])
    signed = Signed(door.app, signing_secret, telemetry.refused_request)
    return Workspace(messenger, signed.routes(), [], [door.close])


def _nothing(_: WatchView) -> bytes | None:
    return None
