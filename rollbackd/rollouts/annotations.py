"""What a workload says of its newest change, by annotations: who, which commit, where to read."""

from collections.abc import Mapping

from actions.marks import COMMIT

AUTHOR = "rollbackd.io/author"
CHANGE_URL = "rollbackd.io/change-url"
CHANGE_CAUSE = "kubernetes.io/change-cause"
SAID = (AUTHOR, COMMIT, CHANGE_URL, CHANGE_CAUSE)
MAX_SAID = 500
"""Characters kept of each; more belongs behind the link."""


def said(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return what a workload says of its newest change, and nothing else that it carries."""
    return {key: str(annotations[key])[:MAX_SAID] for key in SAID if annotations.get(key)}
