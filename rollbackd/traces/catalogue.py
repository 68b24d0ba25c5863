"""Who sent a span and what it did, as small numbers: instances, operations, and their pairs."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rollbackd.traces.labels import DEFAULT_LABELS
from rollbackd.traces.semantics import KINDS, OTHER, operation_name

SERVICE_KEY = "service.name"
KINDS_KNOWN = len(KINDS)
MAX_CACHED_NAMES = 20_000
"""Span names remembered with their operation; beyond, they are worked out again each time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of what is distinct is kept apart.

    Attributes:
        instances: processes at once; those silent for longest make room only once forgotten.
        operations: of one service, the rest is "(other)".
        rows: pairs of an instance and an operation. keys: error types and calls, each with its row.
        keys_of_operation: distinct error types, and distinct calls, of one operation.
    """

    instances: int = 2_000
    operations: int = 500
    rows: int = 100_000
    keys: int = 200_000
    keys_of_operation: int = 50


@dataclass(slots=True)
class Instance:
    """A process that sends spans.

    Attributes:
        labels: by the catalogue's label names; "" where unknown.
        service: whose operations it does. sent_as: the service that it says it is.
        number: its own, never given to another.
    """

    labels: tuple[str, ...]
    service: str
    sent_as: str
    number: int
    rows: dict[tuple[str, int], int] = field(default_factory=dict)
    """By span name and kind as they are sent."""
    by_operation: dict[int, int] = field(default_factory=dict)
    seen: float = 0.0
    """When it last sent something, by our clock."""
    first: float = inf
    """When its spans were counted for the first time."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A kind of work: service, templated name, kind."""

    service: str
    name: str
    kind: str

    @property
    def label(self) -> str:
        """One text for all three, as the value of the label ``operation``."""
        return f"{self.service}|{self.kind}|{self.name}"


class CatalogueFull(Exception):
    """A limit was reached; what would have been new is not counted apart, or not at all."""


class Catalogue:
    """Numbers for instances, operations and rows. Not thread-safe: its owner holds the lock.

    Args:
        labels: label names and the resource attributes each is read from, the first present wins.
        bounds: limits.
        aliases: services that are versions of another one, and that one: their operations are the same.
    """

    def __init__(
        self,
        labels: Mapping[str, tuple[str, ...]] = DEFAULT_LABELS,
        bounds: Bounds = Bounds(),
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.names = tuple(labels)
        self._sources = tuple(labels.values())
        self.bounds = bounds
        self._aliases = aliases
        self.operations: list[Operation] = []
        self._operation: dict[Operation, int] = {}
        self._of_service: dict[str, int] = {}
        self._instances: OrderedDict[tuple[str, tuple[str, ...]], Instance] = OrderedDict()
        self.row_owner: list[Instance | None] = []
        self.row_operation: NDArray[np.int32] = np.empty(1024, dtype=np.int32)
        self.row_process: NDArray[np.int64] = np.empty(1024, dtype=np.int64)
        """Number of the instance that each row is, or was last, of."""
        self._met = 0
        self._free: list[int] = []
        self.version = 0
        """Grows whenever a row is given to somebody, or taken back."""
        self._templates: dict[str, str] = {}
        self._by_label: dict[str, int] = {}
        self.crowded = False
        """Whether there was no room for something new: what is not here may yet have been sent."""

    @property
    def instances(self) -> list[Instance]:
        """Every instance known now."""
        return list(self._instances.values())

    @property
    def rows(self) -> int:
        """How many rows there are, free ones included."""
        return len(self.row_owner)

    def instance(self, attributes: Mapping[str, object]) -> Instance | None:
        """Return the process a resource describes, or None when nothing identifies it.

        Raises:
            CatalogueFull: it is new and there is no room.
        """
        labels = tuple(
            next((str(attributes[key]) for key in keys if attributes.get(key)), "")[:253]
            for keys in self._sources
        )
        if not any(labels):
            return None
        sent_as = str(attributes.get(SERVICE_KEY) or "unknown")[:100]
        known = self._instances.get((sent_as, labels))
        if known is None:
            if len(self._instances) >= self.bounds.instances:
                self._crowd()
                raise CatalogueFull(f"{self.bounds.instances} instances are known already")
            service = self._aliases.get(sent_as, sent_as)
            self._met += 1
            known = Instance(labels, service, sent_as, self._met)
            self._instances[sent_as, labels] = known
        return known

    def row(self, instance: Instance, name: str, kind: int, *, templated: bool = False) -> int:
        """Return the row of an instance's operation; remembered under the name as it was sent.

        Raises:
            CatalogueFull: it is new and there is no room for rows.
        """
        found = instance.rows.get((name, kind))
        if found is not None:
            return found
        kind = kind if 0 <= kind < KINDS_KNOWN else 0
        text = name if templated else self._template(name)
        row = self._row(instance, self._number(Operation(instance.service, text, KINDS[kind])))
        if len(instance.rows) < MAX_CACHED_NAMES // 10:
            instance.rows[name, kind] = row
        return row

    def _crowd(self) -> None:
        """Note that something new was not taken note of."""
        if not self.crowded:
            self.crowded = True
            self.version += 1

    def number_of(self, label: str) -> int | None:
        """Return the number of the operation with a label, or None when there is none."""
        return self._by_label.get(label)

    def _template(self, name: str) -> str:
        known = self._templates.get(name)
        if known is None:
            known = operation_name(name)
            if len(self._templates) < MAX_CACHED_NAMES:
                self._templates[name] = known
        return known

    def _number(self, operation: Operation) -> int:
        known = self._operation.get(operation)
        if known is not None:
            return known
        count = self._of_service.get(operation.service, 0)
        if count >= self.bounds.operations and operation.name != OTHER:
            return self._number(Operation(operation.service, OTHER, operation.kind))
        if len(self.operations) >= self.bounds.rows:
            self._crowd()
            raise CatalogueFull(f"{self.bounds.rows} operations are known already")
        self._of_service[operation.service] = count + 1
        self._operation[operation] = len(self.operations)
        self._by_label[operation.label] = len(self.operations)
        self.operations.append(operation)
        return len(self.operations) - 1

    def _row(self, instance: Instance, operation: int) -> int:
        known = instance.by_operation.get(operation)
        if known is not None:
            return known
        if self._free:
            row = self._free.pop()
            self.row_owner[row] = instance
        elif len(self.row_owner) < self.bounds.rows:
            row = len(self.row_owner)
            self.row_owner.append(instance)
        else:
            self._crowd()
            raise CatalogueFull(f"{self.bounds.rows} pairs of instance and operation are known")
        if row >= len(self.row_operation):
            self.row_operation = np.concatenate([self.row_operation, self.row_operation])
            self.row_process = np.concatenate([self.row_process, self.row_process])
        self.row_operation[row] = operation
        self.row_process[row] = instance.number
        self.version += 1
        instance.by_operation[operation] = row
        return row

    def forget(self, before: float) -> list[int]:
        """Forget instances not seen since a time; return the rows that became free."""
        gone = [key for key, i in self._instances.items() if i.seen < before]
        rows = [row for key in gone for row in self._instances.pop(key).by_operation.values()]
        for row in rows:
            self.row_owner[row] = None
        self._free.extend(rows)
        self.version += bool(rows)
        return rows
