"""The YAML that the documentation shows: what kind of file each block is a part of.

The first line of a block says it, for readers and for tests alike.
"""

import re
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


class Kind(StrEnum):
    """What a block is, by its first line."""

    WHOLE = "# rollbackd.yaml"
    PART = "# rollbackd.yaml, in part"
    """Some of its top-level keys; the others are those of ``test_docs.REST``."""
    VALUES = "# values.yaml"
    """Of the chart, in part, as Helm merges them."""
    MANIFEST = "# Kubernetes"
    """An object of Kubernetes, or a part of one."""
    COLLECTOR = "# OpenTelemetry Collector"
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
