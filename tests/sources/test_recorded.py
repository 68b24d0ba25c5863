"""Recorded files: what is accepted, and how the others are refused."""

import gzip
from pathlib import Path

import pytest

from analyzer.sample import Grid, Query, Series
from analyzer.signal import Selector
from rollbackd.sources.recorded import RecordedSource, RecordingInvalid

QUERY = Query(Selector("x"), ("pod",))


PACKED = gzip.compress(b"x 1 10\n# EOF\n", mtime=0)
"""Without the time of day, which would give the tests made of it new names at each run."""


def values(source: RecordedSource, grid: Grid) -> dict[tuple[str, ...], list[float]]:
    (reply,) = source.fetch([QUERY], grid)
    assert isinstance(reply, Series), reply
    return dict(zip(reply.keys, reply.values.tolist(), strict=True))


def test_compressed_files_continue_each_other(tmp_path: Path) -> None:
    first, second = tmp_path / "first.om.gz", tmp_path / "second.om"
    first.write_bytes(gzip.compress(b'x{pod="a"} 1 10\nx{pod="b"} 7 10\n# EOF\n'))
    second.write_text('x{pod="a"} 2 15.5\n# EOF\n', encoding="utf-8")
    source = RecordedSource([first, second])
    assert values(source, Grid(10.0, 5.5, 2)) == {("a",): [1.0, 2.0], ("b",): [7.0, 7.0]}
    source.close()
    source.close()


def test_samples_of_series_may_alternate(tmp_path: Path) -> None:
    path = tmp_path / "mixed.om"
    lines = [f'x{{pod="{pod}"}} {n} {n}' for n in range(50) for pod in "ab"]
    path.write_text("\n".join([*lines, "# EOF"]), encoding="utf-8")
    rows = values(RecordedSource([path]), Grid(0.0, 1.0, 50))
    assert rows == {("a",): [float(n) for n in range(50)], ("b",): [float(n) for n in range(50)]}


def test_a_shorter_look_back(tmp_path: Path) -> None:
    path = tmp_path / "short.om"
    path.write_text("x 1 0\n# EOF\n", encoding="utf-8")
    row = values(RecordedSource([path], look_back_s=10), Grid(0.0, 10.0, 3))[("",)]
    assert str(row) == "[1.0, 1.0, nan]"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("no-time.om", b"x 1\n# EOF\n", "a sample of x has no timestamp"),
        ("backwards.om", b"x 1 10\nx 2 5\n# EOF\n", "x: the times of a series must increase"),
        ("twice.om", b"x 1 10\nx 2 10\n# EOF\n", "must increase"),
        ("cut.om", b"x 1 10\nx 2", "cut off"),
        ("garbage.om", b"x 1 10\nhello there world\n# EOF\n", "line 2"),
        ("label.om", b"x{a=b} 1 10\n# EOF\n", "no valid name"),
        ("binary.om", b"\xff\xfe", "utf-8"),
        ("plain.om.gz", b"x 1 10\n# EOF\n", "gzip"),
        ("cut.om.gz", PACKED[:-9], "end"),
        ("broken.om.gz", PACKED[:10] + b"\xff" * 30, "invalid"),
    ],
)
def test_files_that_are_no_recording(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingInvalid, match=words) as refused:
        RecordedSource([path])
    assert str(path) in str(refused.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordingInvalid, match="No such file"):
        RecordedSource([tmp_path / "nothing.om"])


def test_too_many_series(tmp_path: Path) -> None:
    path = tmp_path / "many.om"
    path.write_text("x 1 1\ny 1 1\nz 1 1\n# EOF\n", encoding="utf-8")
    with pytest.raises(RecordingInvalid, match="already holds 2 series"):
        RecordedSource([path], max_series=2)
