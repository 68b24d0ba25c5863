"""Values made of arrays that share their first axis: one row is one signal of one watch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Floats: TypeAlias = NDArray[np.float64]
Singles: TypeAlias = NDArray[np.float32]
Bools: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]
Index: TypeAlias = Ints | Bools | slice

BLOCK_ROWS = 2048
"""Rows worked on at once: their node arrays then stay in the second-level cache (design 11)."""

MAX_PODS = 1e6
"""More pods than the largest clusters hold: a broken source, and a weight float32 cannot hold."""

TINY = float(np.finfo(np.float64).tiny)
"""Smallest normal number: keeps a division by a zero that is masked later from warning."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Base of every batch: fields are arrays with the rows on axis 0, or further `Rows`.

    Subclasses are frozen, yet NumPy arrays are not: only the function that is building a new
    value may write into its arrays.
    """

    def __len__(self) -> int:
        return len(getattr(self, next(iter(self.__dataclass_fields__))))

    def take(self, index: Index) -> Self:
        """Return the chosen rows; a slice gives views, an index array or mask gives copies."""
        return self._each(lambda v: v.take(index) if isinstance(v, Rows) else v[index])

    def copy(self) -> Self:
        """Return an equal value that shares no memory with this one."""
        return self._each(lambda v: v.copy())

    def put(self, index: Index, part: Self) -> None:
        """Write `part` over the chosen rows, in place; only for values not yet handed out."""
        for name in self.__dataclass_fields__:
            mine, theirs = getattr(self, name), getattr(part, name)
            if isinstance(mine, Rows):
                mine.put(index, theirs)
            else:
                mine[index] = theirs

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Stack the rows of several batches in the given order.

        Raises:
            ValueError: no part was given, or trailing shapes differ.
        """
        if not parts:
            raise ValueError(f"cannot concatenate zero parts of {cls.__name__}")
        columns: dict[str, Any] = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            stack = type(values[0]).concat if isinstance(values[0], Rows) else np.concatenate
            columns[field.name] = stack(values)
        return cls(**columns)

    def _each(self, change: Callable[[Any], Any]) -> Self:
        # rows of a value that was checked need no check; there are thousands of blocks in a tick
        made = object.__new__(type(self))
        for name in self.__dataclass_fields__:
            object.__setattr__(made, name, change(getattr(self, name)))
        return made


A = TypeVar("A", bound=np.generic)
M = TypeVar("M", bound=Rows)
S = TypeVar("S", bound=Rows)
P = TypeVar("P", bound=Rows)


def advanced(
    memory: M,
    setup: S,
    pair: P,
    live: Bools,
    step: Callable[[M, S, P], None],
    *,
    consume: bool = False,
) -> M:
    """Return what is remembered after one tick; rows not live keep every byte.

    Args:
        memory: what changes from tick to tick; not changed unless it may be consumed.
        setup: what was fixed at the start.
        pair: the tick.
        live: (rows,) rows that are being watched.
        step: adds the tick to a block of rows, in place.
        consume: write over `memory`, which nobody needs any more: copying it costs as much as the
            tick itself where there are very many rows.

    Raises:
        ValueError: lengths differ.
    """
    if not len(memory) == len(setup) == len(pair) == len(live):
        raise ValueError(f"state has {len(memory)} rows, tick {len(pair)}, live {len(live)}")
    fresh = memory if consume else memory.copy()
    for rows in blocks(np.asarray(live, dtype=np.bool_)):
        part = fresh.take(rows)
        step(part, setup.take(rows), pair.take(rows))
        if not isinstance(rows, slice):
            fresh.put(rows, part)
    return fresh


def blocks(live: Bools) -> Iterator[slice | Ints]:
    """Cut the live rows into blocks: a slice where a whole block lives, else its indices."""
    for start in range(0, len(live), BLOCK_ROWS):
        block = live[start : start + BLOCK_ROWS]
        if block.all():
            yield slice(start, start + len(block))
        elif block.any():
            yield start + np.flatnonzero(block)


def chosen(rows: Bools) -> slice | Ints:
    """Return an index of the chosen rows: a slice, which copies nothing, where all of them are."""
    return slice(None) if rows.all() else np.flatnonzero(rows)


def all_blocks(rows: int) -> Iterator[slice]:
    """Cut all rows into blocks; no rows are one empty block."""
    for start in range(0, max(rows, 1), BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, rows))


def column(value: object, rows: int) -> Floats:
    """Return `value` as a float64 array of shape (rows,); scalars are repeated.

    Raises:
        ValueError: the value is neither a scalar nor of shape (rows,).
    """
    array = np.asarray(value, dtype=np.float64)
    if array.ndim and array.shape != (rows,):
        raise ValueError(f"expected shape ({rows},), got {array.shape}")
    return np.broadcast_to(array, (rows,)).copy()


def sum_nodes(nodes: NDArray[A]) -> NDArray[A]:
    """Return the sum over the first axis, added up in order.

    NumPy's own sum picks its order by shape: a row's evidence would then depend, in the last
    digit, on how many rows share the batch, and a replay would not equal the live run.
    """
    total: NDArray[A] = nodes[0].copy()
    for node in nodes[1:]:
        total += node  # type: ignore[misc]  # any number type adds up
    return total


def padded(array: NDArray[A], width: int, value: float = 0.0) -> NDArray[A]:
    """Return the array with its last axis extended to `width` by a constant.

    Raises:
        ValueError: the axis is longer than `width`.
    """
    missing = width - array.shape[-1]
    if not missing:
        return array
    if missing < 0:
        raise ValueError(f"{array.shape[-1]} buckets, but room for {width}")
    extent = [(0, 0)] * (array.ndim - 1) + [(0, missing)]
    return np.pad(array, extent, constant_values=value)


def as_floats(batch: Rows) -> None:
    """Make every field of a batch under construction a float64 array; check their lengths.

    Raises:
        ValueError: with the shapes by name.
    """
    names = tuple(batch.__dataclass_fields__)
    for name in names:
        value = np.asarray(getattr(batch, name), dtype=np.float64)
        object.__setattr__(batch, name, value)
    shapes = {name: getattr(batch, name).shape for name in names}
    if len({shape[:1] for shape in shapes.values()}) > 1 or () in shapes.values():
        raise ValueError(f"rows differ: {shapes}")


def some_pods(pods: Floats) -> Bools:
    """Return where a side has a plausible number of pods: at least one, at most `MAX_PODS`."""
    return (pods >= 1) & (pods <= MAX_PODS)


def pod_spread(known: Bools, canary_pods: Floats, baseline_pods: Floats) -> Floats:
    """Return 1/k + 1/m, the variance of a pod mean's difference in units of one pod's."""
    return 1.0 / np.where(known, canary_pods, 1.0) + 1.0 / np.where(known, baseline_pods, 1.0)
