"""``rollouts``: what is watched."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from analyzer.policy import Mode
from rollbackd.config import settings
from rollbackd.config.models.base import Bool, LabelName, Model, Name, Text, Url, default, path
from rollbackd.config.quantities import Duration, fault, shown


class Kind(StrEnum):
    """A kind of workload."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"
    ROLLOUT = "Rollout"
    """Of Argo Rollouts; that it is not installed is no error."""
    CANARY = "Canary"
    """Of Flagger; that it is not installed is no error."""


class PolicyResourcesModel(Model):
    """Policies of the cluster: RollbackPolicy resources. ``{}`` takes every default.

    Each counts for the workloads of its own namespace, before the policies of this file.
    """

    mode: Mode = Mode.OBSERVE
    """They go this far at most, whatever they say; the rights to act follow from it."""
    actions: list[Name] | None = None
    """Names of the actions that they may use. Default: every kubernetes-rollback action."""

    def settings(self) -> settings.PolicyResourcesSettings:
        """Return the frozen settings."""
        named = None if self.actions is None else tuple(self.actions)
        return settings.PolicyResourcesSettings(self.mode, named)


class KubernetesModel(Model):
    """The workloads of a cluster. ``kubernetes: {}`` takes every default."""

    cluster: Name = "default"
    """Name of the cluster in watch ids and messages."""
    context: Text | None = None
    """Context of the kubeconfig; default: its current one."""
    kubeconfig: Text | None = None
    """File; default: KUBECONFIG or ~/.kube/config, and in a pod its service account."""
    in_cluster: Bool | None = None
    """true: only the pod's service account; false: only the kubeconfig; default: what is there."""
    server: Url | None = None
    """Address of an API server that asks for no authentication, such as kubectl proxy."""
    namespaces: list[Name] = Field(default_factory=list)
    """Only these namespaces; default: all. With fewer, namespaced rights are enough."""
    label_selector: Text | None = None
    """Only workloads with these labels, in Kubernetes' syntax: team=shop,tier!=batch."""
    kinds: list[Kind] = Field(
        default=[Kind.DEPLOYMENT, Kind.STATEFUL_SET, Kind.DAEMON_SET], min_length=1
    )
    """Only these kinds of workloads; no rights are needed for the others. Rollout is Argo's,
    Canary Flagger's."""
    events: Bool = False
    """Write an Event on the workload for each change of a watch; needs the right to create events."""
    policy_resources: PolicyResourcesModel | None = None
    """Read RollbackPolicy resources, too, and write their status. Default: they are not read."""
    follow_for: Duration = default("10m")
    """A complete rollout is still watched this long (duration)."""
    argocd_namespace: Name = "argocd"
    """Where Argo CD's Applications are unless a Deployment's tracking id says otherwise."""
    id_labels: list[LabelName] = Field(default=["namespace", "pod"], min_length=1, max_length=2)
    """Metric labels that hold the namespace and the pod's name, in this order; one label alone
    holds the pod's name."""

    @field_validator("kinds")
    @classmethod
    def _with_what_flagger_makes(cls, kinds: list[Kind]) -> list[Kind]:
        if Kind.CANARY in kinds and Kind.DEPLOYMENT not in kinds:
            raise fault(
                "Canary is there without Deployment", "add Deployment: Flagger's canaries are such"
            )
        return kinds

    @field_validator("server")
    @classmethod
    def _one_way_in(cls, server: str | None, info: ValidationInfo) -> str | None:
        others = [k for k in ("context", "kubeconfig", "in_cluster") if info.data.get(k)]
        if server is not None and others:
            raise fault(f"there is {' and '.join(others)}, too", "keep one way to the cluster")
        return server

    @field_validator("in_cluster")
    @classmethod
    def _no_kubeconfig_in_cluster(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        others = [k for k in ("context", "kubeconfig") if info.data.get(k)]
        if value and others:
            raise fault(f"there is {' and '.join(others)}, too", "keep one way to the cluster")
        return value

    def settings(self, base: Path) -> settings.KubernetesSettings:
        """Return the frozen settings."""
        return settings.KubernetesSettings(
            cluster=self.cluster,
            follow_for_s=self.follow_for,
            id_labels=tuple(self.id_labels),
            context=self.context,
            kubeconfig=path(base, self.kubeconfig),
            in_cluster=self.in_cluster,
            server=self.server,
            namespaces=tuple(self.namespaces),
            label_selector=self.label_selector,
            events=self.events,
            kinds=tuple(dict.fromkeys(kind.value for kind in self.kinds)),
            argocd_namespace=self.argocd_namespace,
            policy_resources=self.policy_resources.settings() if self.policy_resources else None,
        )


class GroupModel(Model):
    """The instances that run one version."""

    label: Text
    """What people call the version: a tag, a build number."""
    instances: list[Text]
    """Values of id_label, such as 10.0.0.5:9001."""


class StaticModel(Model):
    """Two named groups of instances. An empty canary means that nothing is being rolled out."""

    name: Name
    """Name of the workload."""
    namespace: Name = "default"
    """Namespace of the workload, for policies and messages."""
    cluster: Name = "default"
    """Cluster of the workload, for watch ids and messages."""
    id_label: LabelName = "instance"
    """Metric label that holds an instance's name."""
    policy: Name | None = None
    """Name of the policy to use; default: the first that matches."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the workload, for policies."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """What people are told of the change: rollbackd.io/author, rollbackd.io/commit,
    rollbackd.io/change-url."""
    baseline: GroupModel
    """The version that is known to be good."""
    canary: GroupModel
    """The version that is being rolled out."""

    @field_validator("baseline")
    @classmethod
    def _something_to_compare_with(cls, baseline: GroupModel) -> GroupModel:
        if not baseline.instances:
            raise fault("the baseline has no instances", "there must be something to compare with")
        return baseline

    @field_validator("canary")
    @classmethod
    def _two_versions(cls, canary: GroupModel, info: ValidationInfo) -> GroupModel:
        baseline: GroupModel | None = info.data.get("baseline")
        if baseline is None:
            return canary
        if canary.label == baseline.label:
            raise fault(f"both groups are labelled {shown(canary.label)}", "name each version")
        both = sorted(set(canary.instances) & set(baseline.instances))
        if both:
            raise fault(f"{shown(both[0])} is in both groups", "an instance runs one version")
        return canary

    def settings(self) -> settings.StaticRollout:
        """Return the frozen settings."""
        return settings.StaticRollout(
            name=self.name,
            namespace=self.namespace,
            cluster=self.cluster,
            id_label=self.id_label,
            baseline=settings.InstanceGroup(self.baseline.label, tuple(self.baseline.instances)),
            canary=settings.InstanceGroup(self.canary.label, tuple(self.canary.instances)),
            policy=self.policy,
            labels=self.labels,
            annotations=self.annotations,
        )


class RolloutsModel(Model, json_schema_extra={"minProperties": 1}):
    """At least one of kubernetes, static and static_file."""

    kubernetes: KubernetesModel | None = None
    """Watch the workloads of a cluster."""
    static: list[StaticModel] = Field(default_factory=list)
    """Watch named groups of instances."""
    static_file: Text | None = None
    """YAML file with a list of more static rollouts; re-read when it changes."""

    def settings(self, base: Path) -> settings.RolloutsSettings:
        """Return the frozen settings."""
        return settings.RolloutsSettings(
            kubernetes=self.kubernetes.settings(base) if self.kubernetes else None,
            static=tuple(rollout.settings() for rollout in self.static),
            static_file=path(base, self.static_file),
        )
