"""Prometheus' remote-write request, encoded by hand: a few varints instead of two packages."""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

STALE_MARKER = struct.unpack("<d", struct.pack("<Q", 0x7FF0_0000_0000_0002))[0]
"""The NaN by which Prometheus marks the end of a series."""


@dataclass(frozen=True, slots=True)
class NativeHistogram:
    """A native histogram: counts by bucket index; index i holds (base^(i-1), base^i].

    ``base`` is 2^(2^-schema). Indices without a count are left out.
    """

    schema: int
    counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class WrittenSeries:
    """One series with its samples, as (seconds since the epoch, value), or histograms."""

    labels: Mapping[str, str]
    samples: Sequence[tuple[float, float]] = ()
    histograms: Sequence[tuple[float, NativeHistogram]] = ()


def encoded(series: Iterable[WrittenSeries]) -> bytes:
    """Return the body of a request: protobuf ``WriteRequest`` in a snappy block."""
    return _snappy(b"".join(_field(1, _series(one)) for one in series))


def _series(series: WrittenSeries) -> bytes:
    labels = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(series.labels.items())
    )
    samples = b"".join(
        _field(2, b"\x09" + _float(value) + b"\x10" + _varint(round(time * 1000)))
        for time, value in series.samples
    )
    histograms = b"".join(
        _field(4, _histogram(histogram, round(time * 1000)))
        for time, histogram in series.histograms
    )
    return labels + samples + histograms


def _histogram(histogram: NativeHistogram, time_ms: int) -> bytes:
    """Return the message ``Histogram``: spans of one bucket each, counts as deltas."""
    indices = sorted(histogram.counts)
    spans, deltas = b"", b""
    after, before = 0, 0
    for index in indices:
        span = b"\x08" + _varint(_zigzag(index - after)) + b"\x10" + _varint(1)
        spans += _field(11, span)
        deltas += _varint(_zigzag(histogram.counts[index] - before))
        after, before = index + 1, histogram.counts[index]
    return (
        b"\x08" + _varint(sum(histogram.counts.values()))
        + b"\x19" + _float(0.0)
        + b"\x20" + _varint(_zigzag(histogram.schema))
        + b"\x29" + _float(1e-128)
        + b"\x30" + _varint(0)
        + spans
        + _field(12, deltas)
        + b"\x78" + _varint(time_ms)
    )  # fmt: skip


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _float(value: float) -> bytes:
    if value != value:  # noqa: PLR0124  packing a NaN as a float would lose which NaN it is
        bits = 0x7FF0_0000_0000_0002 if value is STALE_MARKER else 0x7FF8_0000_0000_0001
        return struct.pack("<Q", bits)
    return struct.pack("<d", value)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _snappy(content: bytes) -> bytes:
    """Return a valid snappy block that copies nothing, only literals of at most 64 KiB."""
    return _varint(len(content)) + b"".join(_literals(content))


def _literals(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 1 << 16):
        piece = content[start : start + (1 << 16)]
        yield bytes([61 << 2]) + struct.pack("<H", len(piece) - 1) + piece
