"""``RollbackPolicy``: a policy as an object of the cluster."""

from typing import Annotated, Any, Literal

from pydantic import Field

from rollbackd.config.models.base import Model, Text
from rollbackd.config.models.policies import TermsModel, WorkloadMatchModel

GROUP = "rollbackd.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "RollbackPolicy"
PLURAL = "rollbackpolicies"

MOST_PRIORITY = 1000


class _ResourceHeadModel(Model):
    match: WorkloadMatchModel = Field(default_factory=WorkloadMatchModel)
    """Which workloads of its namespace it is for; default: all."""
    priority: Annotated[int, Field(ge=-MOST_PRIORITY, le=MOST_PRIORITY, strict=True)] = 0
    """Of several policies that match, the one with the highest is used; then the oldest."""


class PolicySpecModel(TermsModel, _ResourceHeadModel):
    """What is measured on the workloads of this namespace, and what may be done about it.

    Keys mean what they mean under policies in the configuration file, which says how far such a
    policy goes at most, and which actions there are. Guards can only be made stricter than there.
    Leave signals out for ready-made ones.
    """


class MetadataModel(Model, extra="ignore"):
    """The part of an object's metadata that is looked at."""

    name: Text
    """Name of the policy; workloads of its namespace can ask for it by this name."""
    namespace: Text = "default"
    """Where the workloads are that it is for."""


class PolicyManifestModel(Model):
    """A RollbackPolicy as people write it, and as the API server tells it."""

    api_version: Literal["rollbackd.io/v1alpha1"] = Field(alias="apiVersion")
    """Always rollbackd.io/v1alpha1."""
    kind: Literal["RollbackPolicy"]
    """Always RollbackPolicy."""
    metadata: MetadataModel
    """Its name and namespace."""
    spec: PolicySpecModel
    """The policy."""
    status: dict[str, Any] | None = None
    """Written by rollbackd."""
