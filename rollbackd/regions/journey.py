"""What the journal knows of a region's records: what they were, and how our moves left them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from actions.dns.record import Record, record_from_json, record_to_json
from actions.dns.switch import records_of
from actions.plan import Plan, Step, plan_from_json
from actions.ports import Entry
from actions.regions.planner import watch_id

ORIGIN = "region-origin"
"""Kind of the entry that holds the records as they were before a region was left."""

Place = tuple[str, str, str]
"""Backend, name and type of a record."""


class Entries(Protocol):
    """What is read of a journal; the daemon's and a reader's."""

    def entries(
        self, *, watch_id: str | None = None, kinds: frozenset[str] | None = None, after: int = 0
    ) -> Iterator[Entry]:
        """Yield entries in order of their sequence number. Raises Transient."""


@dataclass(frozen=True, slots=True)
class Journey:
    """A region's last move away and what followed.

    Attributes:
        origin: the records before it; empty when there never was one.
        left: the records as our last steps left them; those that no step changed are as ``origin``.
    """

    origin: Mapping[Place, Record]
    left: Mapping[Place, Record]


def journey(journal: Entries, region: str) -> Journey:
    """Read a region's journey. Raises Transient when the journal cannot be read."""
    origin: dict[Place, Record] = {}
    left: dict[Place, Record] = {}
    steps: dict[str, Step] = {}
    kinds = frozenset({"plan", "step-done", ORIGIN})
    for entry in journal.entries(watch_id=watch_id(region), kinds=kinds):
        if entry.kind == ORIGIN:
            origin = {
                (each["backend"], each["record"]["name"], each["record"]["type"]): (
                    record_from_json(each["record"])
                )
                for each in entry.data["records"]
            }
            left = dict(origin)
        elif entry.kind == "plan":
            steps |= {step.key: step for step in plan_from_json(entry.data).steps}
        elif (step := steps.get(entry.key)) is not None:
            target = step.target
            left[target["backend"], target["name"], target["type"]] = records_of(step)[1]
    return Journey(origin, left)


def origin_to_json(records: Mapping[Place, Record]) -> dict[str, Any]:
    """Return the data of an ``ORIGIN`` entry."""
    return {
        "records": [
            {"backend": backend, "record": record_to_json(record)}
            for (backend, _, _), record in records.items()
        ]
    }


def find_plan(journal: Entries, region: str, plan_key: str) -> Plan | None:
    """Return a region's plan, or None when the journal does not hold it. Raises Transient."""
    kinds = frozenset({"plan"})
    for entry in journal.entries(watch_id=watch_id(region), kinds=kinds):
        if entry.key == plan_key:
            return plan_from_json(entry.data)
    return None


def moves_begun(journal: Entries) -> tuple[float, ...]:
    """Return when the moves of any region began: when their first step did. Raises Transient."""
    begun: dict[tuple[str, str], float] = {}
    for entry in journal.entries(kinds=frozenset({"step-started"})):
        if entry.watch_id.startswith(watch_id("")):
            begun.setdefault((entry.watch_id, str(entry.data["plan"])), entry.at)
    return tuple(sorted(begun.values()))
