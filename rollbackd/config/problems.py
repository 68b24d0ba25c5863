"""What is wrong with a configuration file, said so that a person can mend it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

Location = tuple[str | int, ...]
"""Keys and list positions from the top of the file to a value."""


def key_path(location: Location) -> str:
    """Return a location as people write it: ``policies[0].signals[1].ratio.bad``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong at a place in the data, before the line of the file is known."""

    location: Location
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to mend.

    Attributes:
        line: counted from 1; 0 when the trouble is with the file as a whole.
        path: the key, such as ``policies[0].signals[1].ratio.bad``; "" for the whole file.
        what: what is wrong. hint: what to write instead; "" when ``what`` says it all.
    """

    line: int
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        """Return the problem in one line."""
        place = f"line {self.line}: " if self.line else ""
        key = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{key}{self.what}{hint}"


class ConfigError(Exception):
    """A file cannot be used; carries every problem that was found in it.

    Attributes:
        file: the file. problems: in order of lines, at least one.
    """

    def __init__(self, file: Path, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems))
        super().__init__(file, self.problems)

    def __str__(self) -> str:
        """Return all problems, one a line."""
        return "\n".join(f"{self.file}: {problem}" for problem in self.problems)
