"""Looking at processes from outside, for tests that nobody is left behind."""

from collections.abc import Iterator
from pathlib import Path


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was not yet collected does not."""
    return _stat(pid) is not None and _stat(pid) != "Z"


def descendants(pid: int) -> set[int]:
    """Return all processes below one."""
    found = set(_children(pid))
    return found.union(*(descendants(child) for child in found))


def _children(pid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == pid:
                yield int(entry.name)


def _stat(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[0]
