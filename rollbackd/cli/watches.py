"""Where ``status`` and ``explain`` get their watches: the running daemon, or else the journal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from rollbackd import choice
from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit
from rollbackd.views import WatchView

if TYPE_CHECKING:
    from rollbackd.config.settings import JournalSettings

DEFAULT_URL = "http://127.0.0.1:9469"
TIMEOUT_S = 5.0
"""The daemon answers from memory; when it takes longer than this, it is not well."""


class Unreachable(Exception):
    """The daemon could not be asked; says why."""


@dataclass(frozen=True, slots=True)
class Watches:
    """What was found. ``origin`` says where, for people; ``live`` when the daemon itself said it."""

    views: tuple[WatchView, ...]
    origin: str
    live: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look.

    Attributes:
        url: of the daemon. journal: what to read when it does not answer, if known.
    """

    url: str
    journal: "JournalSettings | None"

    def watches(self) -> Watches:
        """Return every watch, the youngest first.

        Raises:
            click.ClickException: neither daemon nor journal can be read; says why for both.
        """
        from rollbackd.views_json import views_from_json  # noqa: PLC0415 - pydantic, when needed

        try:
            views = views_from_json(get_json(f"{self.url}/api/v1/watches"))
            return Watches(_youngest_first(views), f"rollbackd at {self.url}", live=True)
        except (Unreachable, ValueError) as error:
            return self._from_journal(f"rollbackd at {self.url} did not answer: {error}")

    def watch(self, wanted: str) -> tuple[WatchView, Watches]:
        """Return the one watch that a person means, in full, and where it was found.

        Raises:
            click.ClickException: none or several fit; or as ``watches``.
        """
        from rollbackd.views_json import view_from_json  # noqa: PLC0415 - pydantic, when needed

        found = self.watches()
        view = chosen(wanted, found.views)
        if found.live:
            # The list may leave points out; a single watch is complete.
            try:
                address = f"{self.url}/api/v1/watches/{quote(view.id, safe='/@')}"
                return view_from_json(get_json(address)), found
            except (Unreachable, ValueError):
                return view, found
        return view, found

    def _from_journal(self, trouble: str) -> Watches:
        from actions.ports import ActionError  # noqa: PLC0415 - as below
        from rollbackd.config.secrets import SecretError  # noqa: PLC0415
        from rollbackd.store import JournalReader  # noqa: PLC0415 - SQLAlchemy, when needed
        from rollbackd.views_json import NotAView, view_from_json  # noqa: PLC0415

        if self.journal is None:
            hint = "Name the daemon with --url, or its journal with --journal or --config."
            raise click.ClickException(f"{trouble}.\n{hint}")
        try:
            with JournalReader.open(self.journal.address()) as reader:
                views = [view_from_json(e.data) for e in reader.latest("view").values()]
        except (ActionError, NotAView, SecretError) as error:
            raise click.ClickException(f"{trouble},\nand {error}") from error
        origin = f"the journal {self.journal} ({trouble})"
        return Watches(_youngest_first(views), origin, live=False)


def place_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where to look."""
    options = (
        config_option,
        click.option("--url", help=f"Address of the daemon.  [default: {DEFAULT_URL}]"),
        click.option(
            "--journal",
            type=click.Path(path_type=Path),
            help="Journal file to read when the daemon does not answer.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def place(config_file: Path | None, url: str | None, journal: Path | None) -> Place:
    """Return where to look: what the command line says, then the configuration, then defaults."""
    if config_file is None and DEFAULT.is_file() and url is None and journal is None:
        config_file = DEFAULT
    from rollbackd.config.settings import JournalSettings  # noqa: PLC0415 - when needed

    database = JournalSettings(f"sqlite:///{journal.absolute()}") if journal else None
    if config_file is None:
        return Place(url or DEFAULT_URL, database)
    config = load_or_exit(config_file)
    return Place(url or config.http.url, database or config.journal)


def chosen(wanted: str, views: Sequence[WatchView]) -> WatchView:
    """Return the watch that a person means. Raises click.ClickException."""
    try:
        return choice.chosen(wanted, views)
    except choice.NoSuchWatch as error:
        raise click.ClickException(str(error)) from error


def _youngest_first(views: Sequence[WatchView]) -> tuple[WatchView, ...]:
    return tuple(sorted(views, key=lambda view: -view.started_at))


def get_json(url: str) -> Any:  # noqa: ANN401 - whatever JSON there is; the caller looks at it
    """Return what the daemon answers. Raises Unreachable."""
    import requests  # noqa: PLC0415 - only what asks the daemon pays for it

    session = requests.Session()
    session.trust_env = False  # a proxy for the Internet does not know this machine's daemon
    try:
        with session, session.get(url, timeout=TIMEOUT_S) as reply:
            reply.raise_for_status()
            return reply.json()
    except requests.ConnectionError as error:
        raise Unreachable("nothing listens there") from error
    except requests.Timeout as error:
        raise Unreachable(f"no answer in {TIMEOUT_S:g} s") from error
    except requests.RequestException as error:
        raise Unreachable(str(error)) from error
