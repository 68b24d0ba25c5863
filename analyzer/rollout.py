"""What is being rolled out, and the instances that run each side of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

AFTER = ".after"
"""How the id of a watch ends that guards a revision after its promotion."""


class Side(StrEnum):
    """The two sides of a comparison."""

    BASELINE = "baseline"
    CANARY = "canary"


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """Something that is rolled out; outside Kubernetes, ``kind`` is ``Static``."""

    cluster: str
    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        """Return the name people use: ``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of a workload.

    ``id`` never changes and is never re-used (a ReplicaSet's UID; a static group's name);
    ``label`` is what people recognise (pod-template-hash, image tag, group name).
    """

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Vitals:
    """What the cluster says of an instance's containers.

    Attributes:
        stuck: why a container cannot run, in the cluster's word (``CrashLoopBackOff``), or "".
        restarts: times that a container of the instance was started again.
        last_exit: why a container ended last, in the cluster's word (``OOMKilled``), or "".
        unready_since: since when its containers are not ready, as their node says, in seconds
            since the epoch; None while they are, and when the node has not said.
    """

    stuck: str = ""
    restarts: int = 0
    last_exit: str = ""
    unready_since: float | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One running copy of a revision (a pod, or a static target).

    Attributes:
        id: values of the rollout's ``id_labels``, in their order; how samples find the instance.
        started_at: seconds since the epoch, or None when unknown (then it counts as old).
        ready: it takes traffic.
        terminating: it is on its way out; its samples no longer count.
        vitals: None when nobody says how its containers are, which is never a sign of harm.
    """

    id: tuple[str, ...]
    started_at: float | None = None
    ready: bool = True
    terminating: bool = False
    vitals: Vitals | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """A workload moving from its baseline revision to its canary revision, as observed now.

    Attributes:
        id_labels: names of the metric labels that identify an instance,
            such as ``("namespace", "pod")`` or ``("instance",)``.
        baseline: the last known-good revision, or None when there is none to compare with
            or to go back to.
        started_at: when the canary revision appeared, seconds since the epoch.
        ordinal: tells rollouts of the same revision apart: a revision that is released again is
            rolled out again (the Deployment's revision number; 0 when there is no such thing).
        complete: no baseline instance is left or expected; the canary took over.
        policy: name of the policy asked for by the workload itself, if any.
        mode: the mode asked for by the workload itself, in its own words; it can only lower the
            policy's.
        labels: the workload's labels, for policy selectors.
        stalled: what the workload's controller says of a rollout that stands still, else "".
        ready_within_s: an instance that is not ready for longer is in distress.
        annotations: what the workload says of this change, for people: author, commit, link.
        apart: the two sides never serve at the same time; the canary replaced the baseline at once.
        after_promotion: the canary took over and is compared with the workload's own past.
    """

    workload: Workload
    canary: Revision
    baseline: Revision | None
    canary_instances: tuple[Instance, ...]
    baseline_instances: tuple[Instance, ...]
    id_labels: tuple[str, ...]
    started_at: float
    ordinal: int = 0
    complete: bool = False
    policy: str | None = None
    mode: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    stalled: str = ""
    ready_within_s: float = 600.0
    annotations: Mapping[str, str] = field(default_factory=dict)
    apart: bool = False
    after_promotion: bool = False

    @property
    def watch_id(self) -> str:
        """The key of the watch that follows this rollout: workload and canary revision."""
        w = self.workload
        again = f".{self.ordinal}" if self.ordinal else ""
        name = f"{w.cluster}/{w.namespace}/{w.kind}/{w.name}@{self.canary.label}{again}"
        return f"{name}{AFTER}" if self.guards_on else name

    @property
    def guards_on(self) -> bool:
        """Whether another watch of this revision came before, which is over."""
        return self.after_promotion and not self.apart

    def instances(self, side: Side) -> tuple[Instance, ...]:
        """Return the instances of one side."""
        return self.canary_instances if side is Side.CANARY else self.baseline_instances
