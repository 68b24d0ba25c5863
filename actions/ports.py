"""The ports this layer calls, and the errors that may cross them, named by the reaction to them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from actions.facts import Fact
from actions.plan import Draft, Step
from analyzer.rollout import Rollout


class ActionError(Exception):
    """Base of everything an actuator or a journal may raise."""


class Transient(ActionError):
    """Trouble that may pass (timeout, 429, 5xx): the same step is tried again with back-off.

    Attributes:
        retry_after_s: seconds the other side asked us to wait; 0 when it did not say.
    """

    retry_after_s: float = 0.0


class Fenced(Transient):
    """This process does not lead any more: nothing was written, and it must change nothing.

    A kind of Transient because whoever meets it reacts alike: it leaves everything as it was, and
    concludes nothing. The process that leads now goes on from the journal.
    """


class Conflict(ActionError):
    """The world moved on since the plan was made: nothing was changed; plan anew."""


class Permanent(ActionError):
    """Trying again will not help (forbidden, invalid): a person is needed."""


class StepState(StrEnum):
    """How the world stands to a step."""

    PENDING = "pending"
    """As the plan expected it: the step can be carried out."""
    DONE = "done"
    """The desired state is there and has taken effect."""
    SETTLING = "settling"
    """The change was written and has not taken effect everywhere yet."""
    MOVED_ON = "moved on"
    """Neither expected nor desired: somebody else changed it."""


class Performer(Protocol):
    """What carries out one kind of step."""

    def inspect(self, step: Step) -> StepState:
        """Compare the world with the step; reads only. Raises Transient or Permanent."""

    def perform(self, step: Step) -> None:
        """Write the change, guarded by its precondition.

        Idempotent: when the desired state is already there, nothing is written. Raises Conflict
        (nothing was written), Transient (unknown whether it was written) or Permanent.
        """


class Actuator(Performer, Protocol):
    """A performer that also knows which steps would leave a canary for its baseline."""

    def propose(self, rollout: Rollout) -> Draft:
        """Return the steps that would leave the canary for the baseline, or why it cannot.

        Reads the world, changes nothing. Raises Transient or Permanent.
        """


class FactSource(Protocol):
    """Who knows something about a rollout that guards want to know and no actuator tells."""

    def facts(self, rollout: Rollout) -> Sequence[Fact]:
        """Return what is known; reads only.

        What cannot be read is told as a fact that says so. Raises Transient.
        """


class SchemaGuard(FactSource, Protocol):
    """Who knows whether a database schema, as a canary left it, still serves the baseline.

    Its facts are ``actions.facts.SchemaBound``; none when nothing speaks against going back.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    Attributes:
        seq: position in the journal, given by it; 0 before it is written.
        at: seconds since the epoch.
        watch_id: the watch it belongs to, or "" for the daemon's own entries.
        kind: what it records: ``policy`` (what the watch is judged by), ``watch`` (full state
            after a transition), ``view`` (what people
            saw then), ``roster`` (which instances count), ``armed`` (what the comparisons began
            with), ``plan``, ``refusal``, ``step-started``, ``step-done``, ``step-failed``,
            ``decision`` (what a person decided, before it took effect),
            ``told:NAME`` (what the notifier of that name was told, and what it remembers).
        key: the plan's or step's key where there is one, else "".
        data: plain JSON values.
    """

    at: float
    watch_id: str
    kind: str
    key: str
    data: Mapping[str, Any]
    seq: int = 0


def newest(entries: Iterable[Entry]) -> Entry | None:
    """Return the last of some entries, None when there are none."""
    last = None
    for last in entries:  # noqa: B007  the last one is what is wanted
        pass
    return last


class Journal(Protocol):
    """The append-only record; a call that returned has been written to disk."""

    def append(self, *entries: Entry) -> int:
        """Write entries in one transaction; return the last sequence number.

        Raises Transient when the store does not take them now (unreachable, full, read-only):
        nothing was written or, only when the connection broke in the middle of the commit and the
        store stayed away, that is unknown, as the message then says. Raises Fenced when another
        process leads, Permanent when the entries are not plain JSON values; nothing was written.
        """

    def entries(
        self, *, watch_id: str | None = None, kinds: frozenset[str] | None = None, after: int = 0
    ) -> Iterator[Entry]:
        """Yield entries in order of their sequence number. Raises Transient."""

    def latest(self, kind: str) -> dict[str, Entry]:
        """Return the newest entry of a kind for each watch. Raises Transient."""
