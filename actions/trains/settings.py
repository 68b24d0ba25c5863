"""What levers pull: settings of a region's release, light to import."""

from collections.abc import Mapping
from dataclasses import dataclass, field

API = "https://api.github.com"


@dataclass(frozen=True, slots=True)
class Paused:
    """The workload of a region that waits paused; ``kind`` is Deployment, or Rollout of Argo."""

    namespace: str
    name: str
    kind: str = "Deployment"

    def __str__(self) -> str:
        """Return what people call it."""
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Workflow:
    """What is started.

    Attributes:
        repository: owner/name. ref: branch or tag that the workflow is taken from.
        workflow: file name or id, for a ``workflow_dispatch``; "" for a ``repository_dispatch``.
        event_type: of a ``repository_dispatch``.
        inputs: sent along, besides ``release``, ``region`` and the mark.
    """

    repository: str
    workflow: str = ""
    ref: str = "main"
    event_type: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return what people call it."""
        return f"{self.workflow or self.event_type} of {self.repository}"
