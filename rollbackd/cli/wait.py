"""``rollbackd wait``: until a rollout is decided. For pipelines, which read the exit code."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from actions.marks import COMMIT
from rollbackd import choice
from rollbackd.cli import evidence
from rollbackd.cli.watches import Place, Watches, place, place_options

if TYPE_CHECKING:
    from rollbackd.views import WatchView

POLL_S = 2.0
"""Between two looks; the daemon itself looks every ten seconds by default."""
REMIND_S = 60.0
"""A line is printed at least this often: what carries the output may give up on a silent command."""
SHORTEST_COMMIT = 7
"""Fewer digits of a commit could mean several."""


class Ending(IntEnum):
    """How the waiting ended: the exit code. 1 and 2 are errors, of ours and of the command line."""

    HEALTHY = 0
    BAD = 3
    UNDECIDED = 4
    TIMEOUT = 5
    UNSEEN = 6


BAD_PHASES = frozenset({"rolled back", "reported", "needs a human"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rollout is waited for.

    Attributes:
        watch: an id, or a workload, as ``choice.exact`` knows them.
        commit: what its annotation ``rollbackd.io/commit`` says, or a beginning of it; "": any.
        revision: what its canary is called; "": any.
    """

    watch: str
    commit: str = ""
    revision: str = ""

    def among(self, views: "Sequence[WatchView]", old: frozenset[str]) -> "WatchView | None":
        """Return the watch that is meant, or None while there is none.

        Args:
            views: the youngest first.
            old: ids of the watches that were over when the waiting began. They are not meant
                unless commit, revision or the id itself say so: an earlier release's "healthy"
                must not let the next one pass.

        Raises:
            choice.NoSuchWatch: several workloads have this name.
        """
        return choice.exact(self.watch, [view for view in views if self._fits(view, old)])

    def _fits(self, view: "WatchView", old: frozenset[str]) -> bool:
        if self.commit and not _same_commit(self.commit, view.annotations.get(COMMIT, "")):
            return False
        if self.revision and view.canary != self.revision:
            return False
        named = self.commit or self.revision or view.id == self.watch
        return bool(named) or view.id not in old


def _same_commit(one: str, other: str) -> bool:
    short, long = sorted((one.lower(), other.lower()), key=len)
    return one == other or (len(short) >= SHORTEST_COMMIT and long.startswith(short))


def ending(view: "WatchView") -> Ending | None:
    """Return how a watch ended, or None while it goes on. Only *healthy* is success."""
    if not view.final:
        return None
    if view.phase == "healthy":
        return Ending.HEALTHY
    return Ending.BAD if view.phase in BAD_PHASES else Ending.UNDECIDED


@dataclass(frozen=True, slots=True)
class Waited:
    """What came of it: the last view of the watch, if there ever was one, and what to say."""

    ending: Ending
    view: "WatchView | None"
    text: str


@dataclass(slots=True)
class Vigil:
    """Waits for one rollout.

    Attributes:
        look: returns what is watched; raises click.ClickException while that cannot be told.
        wanted: the rollout. timeout_s: how long in all. appear_s: how long until it is seen.
        say: tells people how it goes on.
        clock: seconds that only grow. pause: waits that many seconds.
    """

    look: Callable[[], Watches]
    wanted: Wanted
    timeout_s: float
    appear_s: float
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _old: frozenset[str] | None = None
    _view: "WatchView | None" = None
    _said: str = ""
    _said_at: float = 0.0
    _trouble: str = ""

    def run(self) -> Waited:
        """Wait, and return what came of it.

        Raises:
            choice.NoSuchWatch: the name does not say which workload.
        """
        begun = self.clock()
        while True:
            self._look()
            over = ending(self._view) if self._view is not None else None
            if self._view is not None and over is not None:
                return Waited(over, self._view, _line(self._view))
            gone = self.clock() - begun
            if self._view is None and gone >= min(self.appear_s, self.timeout_s):
                return Waited(Ending.UNSEEN, None, self._unseen())
            if gone >= self.timeout_s:
                return Waited(Ending.TIMEOUT, self._view, self._late())
            self._tell()
            self.pause(min(POLL_S, max(0.0, self.timeout_s - gone)))

    def _look(self) -> None:
        """Take in what there is; a daemon that does not answer, or restarts, changes nothing."""
        try:
            views = self.look().views
        except click.ClickException as error:
            self._trouble = error.message.partition("\n")[0]
            return
        self._trouble = ""
        if self._old is None:
            self._old = frozenset(view.id for view in views if view.final)
        if self._view is None:
            self._view = self.wanted.among(views, self._old)
        else:
            known = self._view.id
            self._view = next((view for view in views if view.id == known), self._view)

    def _tell(self) -> None:
        text = self._trouble or (
            _line(self._view) if self._view else f"waiting for a rollout of {self.wanted.watch}"
        )
        state = self._trouble or (
            f"{self._view.phase} {self._view.verdict}" if self._view else "-"
        )
        now = self.clock()
        if state != self._said or now - self._said_at >= REMIND_S:
            self.say(text)
            self._said, self._said_at = state, now

    def _unseen(self) -> str:
        text = f"no such rollout was seen: {self.wanted.watch}"
        for what, value in (("commit", self.wanted.commit), ("revision", self.wanted.revision)):
            text += f", {what} {value}" if value else ""
        why = self._trouble or (
            "did the deployment change the pod template? is the workload watched, by any policy?"
        )
        return f"{text} ({why})"

    def _late(self) -> str:
        text = f"not decided in time: {_line(self._view)}" if self._view else "not decided in time"
        return f"{text} ({self._trouble})" if self._trouble else text


def _line(view: "WatchView") -> str:
    weight = f"evidence {evidence.e_value(view.evidence)} of {evidence.e_value(view.limit)}"
    text = (
        f"{view.workload}  {view.baseline} → {view.canary}: {view.phase}, {view.verdict}, {weight}"
    )
    return f"{text}: {view.note}" if view.note else text


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    from pydantic_core import PydanticCustomError  # noqa: PLC0415 - pydantic, when needed

    from rollbackd.config.quantities import parse_duration  # noqa: PLC0415

    try:
        return parse_duration(text)
    except PydanticCustomError as error:
        raise click.BadParameter(error.message()) from error


@click.command()
@click.argument("watch")
@click.option("--commit", default="", help=f"Only the rollout whose annotation {COMMIT} says so.")
@click.option("--revision", default="", help="Only the rollout of this revision, as in `status`.")
@click.option(
    "--timeout", "timeout_s", default="1h", show_default=True, callback=_seconds, help="In all."
)
@click.option(
    "--appear",
    "appear_s",
    default="5m",
    show_default=True,
    callback=_seconds,
    help="Until the rollout is seen.",
)
@place_options
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers, at the end.")
def wait(  # noqa: PLR0913  # one for each option
    *,
    watch: str,
    commit: str,
    revision: str,
    timeout_s: float,
    appear_s: float,
    config_file: Path | None,
    url: str | None,
    journal: Path | None,
    as_json: bool,
) -> None:
    """Wait until the rollout of WATCH is decided, and end with the answer.

    The exit code is 0 when it is healthy; 3 when it is not (rolled back, harm reported in mode
    observe, people needed); 4 when nothing was decided (not enough evidence, superseded, gone); 5
    when --timeout is over and it goes on; 6 when no such rollout was seen within --appear; 1 when
    the name fits several workloads; 2 for mistakes in the command or the configuration.

    WATCH is a workload, shop/checkout or checkout, or an id as in `status --json`. Without --commit
    or --revision, a rollout that was over before the command began is not the one that is meant.
    A daemon that does not answer is asked again; it never counts as healthy.
    """
    where: Place = place(config_file, url, journal)
    wanted = Wanted(watch, commit, revision)
    try:
        waited = Vigil(
            where.watches, wanted, timeout_s, appear_s, lambda text: click.echo(text, err=True)
        ).run()
    except choice.NoSuchWatch as error:
        raise click.ClickException(str(error)) from error
    if as_json and waited.view is not None:
        from rollbackd.views_json import view_to_json  # noqa: PLC0415 - pydantic, when needed

        click.echo(json.dumps(view_to_json(waited.view), ensure_ascii=False))
        click.echo(waited.text, err=True)
    else:
        click.echo(waited.text)
        for reason in waited.view.reasons if waited.view else ():
            click.echo(f"  • {reason}")
    raise click.exceptions.Exit(int(waited.ending))
