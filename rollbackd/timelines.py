"""The course of things that are no rollouts, such as regions and trains, as people are told it."""

from collections.abc import Sequence
from typing import Protocol

from actions.ports import Journal, newest
from rollbackd.views import TimelineItem
from rollbackd.views_json import view_from_json

MAX_TIMELINE = 100
Timeline = tuple[TimelineItem, ...]


class Phased(Protocol):
    """Something that is in a phase, for a reason."""

    @property
    def phase(self) -> str:
        """Where it stands."""

    @property
    def note(self) -> str:
        """Why, for people."""


def recalled(journal: Journal, watch_id: str, kind: str) -> Timeline:
    """Return what people were shown last under an id, by entries of a kind. Raises Transient."""
    last = newest(journal.entries(watch_id=watch_id, kinds=frozenset({kind})))
    return () if last is None else view_from_json(last.data).timeline


def continued(
    timeline: Timeline, before: Phased, after: Phased, at: float, said: Sequence[str] = ()
) -> Timeline:
    """Return a timeline with what happened now.

    Args:
        timeline: so far.
        before: how the thing stood.
        after: how it stands.
        at: seconds since the epoch.
        said: what else people are told of it.
    """
    told = [TimelineItem(at, "said", text) for text in said]
    if (after.phase, after.note) != (before.phase, before.note):
        told = [TimelineItem(at, "phase", f"{after.phase}: {after.note}"), *told]
    return (*timeline, *told)[-MAX_TIMELINE:]
