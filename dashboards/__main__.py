"""``python -m dashboards``: writes the dashboards' JSON into ``dashboards/json``."""

from collections.abc import Iterator
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.daemon import daemon
from dashboards.fleet import fleet
from dashboards.rollout import rollout

FOLDER = Path(__file__).parent / "json"


def files() -> Iterator[tuple[Path, str]]:
    """Yield every dashboard's file and its content."""
    for made in (fleet().build(), rollout().build(), daemon().build()):
        content = JSONEncoder(sort_keys=True, indent=2).encode(made)
        yield FOLDER / f"{made.uid}.json", f"{content}\n"


if __name__ == "__main__":
    for path, content in files():
        path.write_text(content, encoding="utf-8")
