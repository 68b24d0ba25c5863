"""Which rights the enabled features take: the one place that says so.

The daemon asks the API server for each of them at its start, ``rollbackd validate --cluster`` tells
them, and a test compares them with what the Helm chart grants. A feature that makes a new call adds
its row here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from actions.gitops_hold import NAME as HOLD
from actions.guards.guard import OwnerRule
from analyzer.policy import Mode
from rollbackd.config.region_settings import ExternalDnsSettings
from rollbackd.config.settings import (
    ActionSettings,
    Config,
    KubernetesRollbackSettings,
    PolicyRule,
)


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A verb on the objects of a resource in a namespace; "" stands for all of the cluster.

    ``name``: only of the object with this name; "" for all of them.
    """

    verb: str
    group: str
    resource: str
    namespace: str
    name: str = ""

    def __str__(self) -> str:
        """Say it as an administrator would."""
        what = f"{self.resource}.{self.group}" if self.group else self.resource
        what = f"{what}/{self.name}" if self.name else what
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {what} {where}"


@dataclass(frozen=True, slots=True)
class Need:
    """A right, and the feature that takes it.

    ``essential``: without it the daemon sees nothing, or cannot lead. A right to act is not: an
    administrator may grant it in some namespaces only, and elsewhere people are called instead.
    """

    right: Right
    feature: str
    essential: bool


@dataclass(frozen=True, slots=True)
class _Grant:
    verbs: tuple[str, ...]
    group: str
    resource: str


@dataclass(frozen=True, slots=True)
class _Kind:
    """What following a kind of workload, and acting on it, takes.

    ``revisions``: resource of its revisions in the group ``apps``, or "". ``written``: the resource
    that is patched, or "". ``awaited``: what tells that a change took effect.
    """

    group: str
    resource: str
    revisions: str = ""
    written: str = ""
    awaited: _Grant | None = None

    def follow(self) -> Iterator[_Grant]:
        yield _Grant(("list", "watch"), self.group, self.resource)
        if self.revisions:
            yield _Grant(("list", "watch"), "apps", self.revisions)

    def plan(self) -> Iterator[_Grant]:
        yield _Grant(("get",), self.group, self.resource)
        if self.revisions == "controllerrevisions":
            yield _Grant(("get",), "apps", self.revisions)

    def act(self) -> Iterator[_Grant]:
        if self.written:
            yield _Grant(("patch",), self.group, self.written)
        if self.awaited is not None:
            yield self.awaited


_ENDPOINTS = _Grant(("list",), "discovery.k8s.io", "endpointslices")
_KINDS = {
    "Deployment": _Kind("apps", "deployments", "replicasets", written="deployments"),
    "StatefulSet": _Kind("apps", "statefulsets", "controllerrevisions", written="statefulsets"),
    "DaemonSet": _Kind("apps", "daemonsets", "controllerrevisions", written="daemonsets"),
    "Rollout": _Kind("argoproj.io", "rollouts", "replicasets", written="rollouts/status"),
    "Canary": _Kind("flagger.app", "canaries", written="canaries"),
    "Service": _Kind("", "services", written="services", awaited=_ENDPOINTS),
}
_PODS = _Grant(("list", "watch"), "", "pods")
_CAPACITY = (
    _Grant(("list",), "autoscaling", "horizontalpodautoscalers"),
    _Grant(("list",), "", "resourcequotas"),
)
_SIZED = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
_FITS = "telling whether the old revision fits"
_HOLD_OWNERS = (
    _Grant(("get", "patch"), "argoproj.io", "applications"),
    _Grant(("get", "patch"), "kustomize.toolkit.fluxcd.io", "kustomizations"),
    _Grant(("get", "patch"), "helm.toolkit.fluxcd.io", "helmreleases"),
)
_DELETE_STUCK = _Grant(("delete",), "", "pods")
_EVENTS = _Grant(("create",), "", "events")
_POLICIES = _Grant(("list", "watch"), "rollbackd.io", "rollbackpolicies")
_POLICY_STATUS = _Grant(("patch",), "rollbackd.io", "rollbackpolicies/status")
_REVIEWS = (
    _Grant(("create",), "authentication.k8s.io", "tokenreviews"),
    _Grant(("create",), "authorization.k8s.io", "subjectaccessreviews"),
)
_LEASES = "coordination.k8s.io", "leases"
_DNS_GROUPS = {
    "dnsendpoints": "externaldns.k8s.io",
    "services": "",
    "ingresses": "networking.k8s.io",
}


def needs(config: Config) -> tuple[Need, ...]:
    """Return every right that the configuration takes; none writes when all policies observe."""
    cluster = config.rollouts.kubernetes
    if cluster is None:
        return ()
    followed = cluster.namespaces or ("",)
    kinds = [_KINDS[kind] for kind in cluster.kinds]
    follow = [*(grant for kind in kinds for grant in kind.follow()), _PODS]
    found = [*_needs(follow, followed, "following rollouts", essential=True)]
    if cluster.policy_resources is not None:
        found += _needs([_POLICIES], followed, "reading policies", essential=True)
        telling = "writing the status of policies"
        found += _needs([_POLICY_STATUS], followed, telling, essential=False)
    modes = {mode for action in config.actions for mode in _modes(config, action)}
    planned = [grant for kind in kinds for grant in kind.plan()]
    if modes:
        found += _needs(planned, followed, "planning rollbacks", essential=True)
        if _SIZED.intersection(cluster.kinds):
            # what cannot be read is told by the guard "capacity", and keeps nobody from acting
            found += _needs(_CAPACITY, followed, _FITS, essential=False)
    if modes - {Mode.OBSERVE}:
        written = [grant for kind in kinds for grant in kind.act()]
        found += _needs(written, followed, "rolling back", essential=False)
    if _holds_owners(config):
        # owners live in other namespaces; of Argo CD and Flux only the one that is there matters
        feature = "holding GitOps owners, where these are used"
        found += _needs(_HOLD_OWNERS, ("",), feature, essential=False)
    deleting = (a for a in config.actions if getattr(a, "delete_stuck_pods", False))
    if any(_modes(config, action) - {Mode.OBSERVE} for action in deleting):
        found += _needs([_DELETE_STUCK], followed, "deleting stuck pods", essential=False)
    if cluster.events:
        read = [grant for grant in planned if grant.resource != "controllerrevisions"]
        found += _needs([*read, _EVENTS], followed, "writing events", essential=False)
    if config.http.login is not None:
        # they belong to no namespace; without them people can only read
        feature = "letting people in by tokens of the cluster"
        found += _needs(_REVIEWS, ("",), feature, essential=False)
    found += _moving_traffic(config)
    if config.journal.dsn is not None and config.leadership.namespace is not None:
        home, name = config.leadership.namespace, config.leadership.name
        # a right to create cannot be limited to a name
        for verb, only in (("get", name), ("create", ""), ("patch", name)):
            right = Right(verb, *_LEASES, home, only)
            found.append(Need(right, "electing a leader", essential=True))
    return tuple(dict.fromkeys(found))


def _moving_traffic(config: Config) -> Iterator[Need]:
    """Yield what it takes to move traffic by objects that ExternalDNS carries out."""
    if config.regions is None:
        return
    writes = config.regions.moves.mode is not Mode.OBSERVE
    for backend in config.regions.dns:
        found = backend.provider
        if isinstance(found, ExternalDnsSettings):
            kind = _DNS_GROUPS[found.resource], found.resource
            for name, verb in product(found.objects, ("get", "patch") if writes else ("get",)):
                right = Right(verb, *kind, found.namespace, name)
                yield Need(right, "moving traffic by ExternalDNS", essential=False)


def _holds_owners(config: Config) -> bool:
    """Tell whether any policy that acts stops the sync of GitOps owners first."""
    if any(HOLD in rule.policy.actuators and _acts(rule) for rule in config.policies):
        return True
    mode, used = _of_resources(config)
    rolls_back = not used.isdisjoint(config.rollbacks)
    return mode is not Mode.OBSERVE and rolls_back and config.guards.gitops is OwnerRule.HOLD


def _of_resources(config: Config) -> tuple[Mode, frozenset[str]]:
    """Return how far policies of the cluster may go, and by which actions."""
    cluster = config.rollouts.kubernetes
    resources = cluster.policy_resources if cluster is not None else None
    mode = Mode.OBSERVE if resources is None else resources.mode
    return mode, frozenset(config.resource_actions)


def _acts(rule: PolicyRule) -> bool:
    return rule.policy.mode is not Mode.OBSERVE


def _modes(config: Config, action: ActionSettings) -> set[Mode]:
    """Return the modes of the policies that use an action, when it is a rollback."""
    if not isinstance(action, KubernetesRollbackSettings):
        return set()
    policies = (rule.policy for rule in config.policies)
    modes = {policy.mode for policy in policies if action.name in policy.actuators}
    mode, used = _of_resources(config)
    return modes | {mode} if action.name in used else modes


def _needs(
    grants: Iterable[_Grant], namespaces: Iterable[str], feature: str, *, essential: bool
) -> Iterator[Need]:
    for grant in grants:
        for namespace in namespaces:
            for verb in grant.verbs:
                right = Right(verb, grant.group, grant.resource, namespace)
                yield Need(right, feature, essential)
