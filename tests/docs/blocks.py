"""The YAML that the documentation shows: what kind of file each block is a part of.

The first line of a block says it, for readers and for tests alike.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "reference"),
    ROOT / "helm" / "rollbackd" / "README.md",
)
_FENCE = re.compile(r"^( *)```ya?ml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


_CONSOLE = re.compile(r"^ *```console\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


class Kind(StrEnum):
    """What a block is, by its first line."""

    WHOLE = "# rollbackd.yaml"
    PART = "# rollbackd.yaml, in part"
    """Some of its top-level keys; the others are those of ``test_docs.REST``."""
    VALUES = "# values.yaml"
    """Of the chart, in part, as Helm merges them."""
    POLICY = "apiVersion: rollbackd.io/"
    MANIFEST = "# Kubernetes"
    """An object of Kubernetes, or a part of one."""
    COLLECTOR = "# OpenTelemetry Collector"
    TEMPO = "# Tempo, in part"
    WORKFLOW = "# .github/workflows"


@dataclass(frozen=True, slots=True)
class Block:
    """One block: where it stands (page and number there), what it is, and its text."""

    page: Path
    number: int
    text: str

    @property
    def name(self) -> str:
        """Name it as a test."""
        return f"{self.page.relative_to(ROOT)}-{self.number}"

    @property
    def kind(self) -> Kind | None:
        """Return what its first line says, or None when that says nothing."""
        first = self.text.partition("\n")[0]
        kinds = sorted(Kind, key=lambda kind: -len(kind.value))
        exact = {Kind.WHOLE, Kind.PART, Kind.VALUES}
        return next(
            (k for k in kinds if (first == k if k in exact else first.startswith(k))), None
        )


def blocks() -> Iterator[Block]:
    """Yield every block of YAML of every page."""
    for page in PAGES:
        found = _FENCE.findall(page.read_text(encoding="utf-8"))
        for number, (_, text) in enumerate(found):
            yield Block(page, number, dedent(text))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the console blocks: a name for it, and its words.

    Of ``kubectl exec … -- rollbackd …`` the words after the dashes are a command of its own, too.
    """
    for page in PAGES:
        lines = "".join(_CONSOLE.findall(page.read_text(encoding="utf-8")))
        lines = lines.replace("\\\n", " ")
        for number, line in enumerate(lines.splitlines()):
            words = _words(line)
            if words:
                yield f"{page.relative_to(ROOT)}-{number}", words
            if "--" in words:
                yield f"{page.relative_to(ROOT)}-{number}-inner", words[words.index("--") + 1 :]


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:  # what follows is a part of a longer text
        return []
    return words[: words.index("|")] if "|" in words else words
