"""Spans as columns: what is left of them once instance and operation are numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

NO_SPAN = b"\0" * 8
TRACE_BYTES, SPAN_BYTES = 16, 8
NANOSECONDS = 1_000_000_000


class Fields(NamedTuple):
    """What is read of spans one by one, as parallel sequences."""

    traces: Sequence[bytes]
    spans: Sequence[bytes]
    parents: Sequence[bytes]
    starts: Sequence[int]
    ends: Sequence[int]
    names: Sequence[str]
    kinds: Sequence[int]


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """Spans of any number of instances; arrays of one length, parallel.

    Attributes:
        trace: (n, 2) halves of the trace id. span, parent: ids, parent 0 when there is none.
        start, end: nanoseconds since the epoch, by the sender's clock.
        row: of the catalogue. failed: the span tells of an error.
        errors: position and error type of each failed span.
    """

    trace: NDArray[np.uint64]
    span: NDArray[np.uint64]
    parent: NDArray[np.uint64]
    start: NDArray[np.uint64]
    end: NDArray[np.uint64]
    row: NDArray[np.int32]
    failed: NDArray[np.bool_]
    errors: tuple[tuple[int, str], ...] = ()

    def __len__(self) -> int:
        return len(self.span)

    @classmethod
    def of(cls, fields: Fields, rows: Sequence[int], errors: Sequence[tuple[int, str]]) -> Self:
        """Make columns of lists; ids must have their full length, a missing parent is ``b""``."""
        failed = np.zeros(len(rows), dtype=np.bool_)
        failed[[i for i, _ in errors]] = True
        return cls(
            np.frombuffer(b"".join(fields.traces), dtype=np.uint64).reshape(-1, 2),
            np.frombuffer(b"".join(fields.spans), dtype=np.uint64),
            np.frombuffer(b"".join([p or NO_SPAN for p in fields.parents]), dtype=np.uint64),
            np.array(fields.starts, dtype=np.uint64),
            np.array(fields.ends, dtype=np.uint64),
            np.array(rows, dtype=np.int32),
            failed,
            tuple(errors),
        )

    @classmethod
    def empty(cls) -> Self:
        """Return no spans."""
        return cls.of(Fields((), (), (), (), (), (), ()), (), ())

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the spans of all parts, in order."""
        if not parts:
            return cls.empty()
        errors: list[tuple[int, str]] = []
        offset = 0
        for part in parts:
            errors.extend((i + offset, kind) for i, kind in part.errors)
            offset += len(part)
        return cls(
            np.concatenate([p.trace for p in parts]),
            np.concatenate([p.span for p in parts]),
            np.concatenate([p.parent for p in parts]),
            np.concatenate([p.start for p in parts]),
            np.concatenate([p.end for p in parts]),
            np.concatenate([p.row for p in parts]),
            np.concatenate([p.failed for p in parts]),
            tuple(errors),
        )

    def chosen(self, keep: NDArray[np.bool_]) -> Self:
        """Return the spans that a mask keeps."""
        if keep.all():
            return self
        place = np.cumsum(keep) - 1
        return type(self)(
            self.trace[keep],
            self.span[keep],
            self.parent[keep],
            self.start[keep],
            self.end[keep],
            self.row[keep],
            self.failed[keep],
            tuple((int(place[i]), kind) for i, kind in self.errors if keep[i]),
        )
