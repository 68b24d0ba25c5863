"""The daemon's controller, desk, decisions and pump, joined to a stand-in for Slack."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from analyzer.policy import Mode
from rollbackd.config.notifiers import SlackSettings
from rollbackd.config.secrets import Secret
from rollbackd.config.settings import Deciders
from rollbackd.decisions import Decisions
from rollbackd.http import Doors, HttpServer, application
from rollbackd.notifiers.links import Links
from rollbackd.notifiers.pump import Pace, Pump
from rollbackd.notifiers.staff import REFRESH_S
from rollbackd.slack.workspace import Workspace, join
from tests.fakes.memory_journal import MemoryJournal
from tests.fakes.slack import FakeSlack, HttpUser, Message, SocketUser
from tests.fakes.slack.fake import APP_TOKEN, BOT_TOKEN, CHANNEL, SIGNING_SECRET
from tests.process.lifetime import POLICY, TELEMETRY, Lifetime
from tests.process.mall import Mall

LINKS = Links(
    dashboard="https://grafana.example/d/shop?var-ns={namespace}&from={from_ms}&to={to_ms}",
    page="https://rollbackd.example/watches/{watch}",
)
ALLOWED = Deciders(users=("U1",))


@dataclass
class Office:
    slack: FakeSlack
    life: Lifetime
    people: Decisions
    workspace: Workspace
    pump: Pump
    deciders: list[Deciders]
    url: str = ""

    @property
    def message(self) -> Message:
        """Return the only message in the channel."""
        (message,) = self.slack.posts()
        return message

    def until(self, *phases: str, watch: str = "") -> Message:
        """Let time pass until a watch is in one of these phases, and tell Slack."""
        self.life.until(*phases, watch=watch)
        self.pump.once()
        return self.slack.posts()[-1]

    def user(self, id_: str = "U1") -> SocketUser:
        self.slack.wait_until(self.slack.connected)
        return SocketUser(self.slack, id_, self.slack.users[id_][0])

    def http_user(self, id_: str = "U1") -> HttpUser:
        return HttpUser(self.slack, id_, self.slack.users[id_][0], url=self.url)


def secret(folder: Path, text: str) -> Secret:
    file = folder / text
    file.write_text(text)
    return Secret(file=file)


@contextmanager
def office(
    slack: FakeSlack,
    folder: Path,
    *,
    mode: Mode = Mode.APPROVE,
    deciders: Deciders = ALLOWED,
    http: bool = False,
    before: Office | None = None,
    mall: Mall | None = None,
    pictures: bool = False,
) -> Iterator[Office]:
    """Run everything but the ticks; ``before``: the process whose journal this one continues."""
    with ExitStack() as stack:
        mall = before.life.mall if before else mall or Mall()
        journal = before.life.journal if before else MemoryJournal()
        life = Lifetime(mall, journal, replace(POLICY, mode=mode))
        stack.callback(life.end)
        current = [deciders]
        people = Decisions(
            views=life.controller.watches.views,
            handle=life.decided,
            release=life.release,
            deciders=lambda _: current[-1],
            journal=journal,
            telemetry=TELEMETRY,
            now=mall.clock,
        )
        settings = SlackSettings(
            channel=CHANNEL,
            api=slack.api,
            bot_token=secret(folder, BOT_TOKEN),
            app_token=None if http else secret(folder, APP_TOKEN),
            signing_secret=secret(folder, SIGNING_SECRET) if http else None,
            pictures=pictures,
        )
        workspace = join(settings, LINKS, people, TELEMETRY)
        stack.callback(workspace.close)
        pump = Pump(
            "slack",
            workspace.messenger,
            journal=journal,
            telemetry=TELEMETRY,
            now=mall.clock,
            pace=Pace(refresh_s=REFRESH_S),
            live=life.controller.watches.views,
        )
        doors = Doors(
            views=life.controller.watches.views,
            metrics=TELEMETRY.exposition,
            unready=lambda: "",
            decide=people.decide,
            release=people.release,
        )
        server = HttpServer(application(doors, workspace.routes), "127.0.0.1", 0)
        stack.callback(server.close)
        server.start()
        for start in workspace.starts:
            start()
        url = f"http://127.0.0.1:{server.port}/slack/events"
        yield Office(slack, life, people, workspace, pump, current, url)
