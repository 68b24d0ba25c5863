"""Writes the chart's CustomResourceDefinition: ``python -m helm.policy_definition``.

It is made from the models that read a RollbackPolicy; the chart renders it with its labels, and
``kubectl apply -f`` takes it as it is.
"""

from pathlib import Path

import yaml

from rollbackd.config.custom_resource import definition

TARGET = Path(__file__).parent / "rollbackd" / "files" / "crds" / "rollbackpolicies.yaml"
_HEAD = (
    "# Made by `python -m helm.policy_definition` from the models that read a RollbackPolicy.\n"
)


def text() -> str:
    """Return the file's content."""
    return _HEAD + yaml.safe_dump(definition(), sort_keys=False, allow_unicode=True, width=100)


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text(), encoding="utf-8")
