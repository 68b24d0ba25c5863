"""Configuration files for tests: a small valid one, and ways to write it."""

from pathlib import Path
from typing import Any

import yaml


def minimal() -> dict[str, Any]:
    """Return the values of a file in which everything optional is left out."""
    return {
        "source": {"prometheus": {"url": "http://prometheus:9090"}},
        "rollouts": {"kubernetes": {}},
        "actions": [{"name": "rollback", "kubernetes-rollback": {}}],
        "policies": [
            {
                "name": "default",
                "signals": [
                    {"name": "errors", "ratio": {"total": "all_total", "bad": "bad_total"}},
                    {"name": "latency", "histogram": {"buckets": "latency_bucket"}},
                ],
            }
        ],
    }


def write(directory: Path, values: object) -> Path:
    """Write values, or text as it is, to ``rollbackd.yaml``."""
    file = directory / "rollbackd.yaml"
    text = values if isinstance(values, str) else yaml.safe_dump(values, sort_keys=False)
    file.write_text(text, encoding="utf-8")
    return file
