"""Which rights the enabled features take: the one place that says so.

The daemon asks the API server for each of them at its start, ``rollbackd validate --cluster`` tells
them, and a test compares them with what the Helm chart grants. A feature that makes a new call adds
its row here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from analyzer.policy import Mode
from rollbackd.config.settings import Config, KubernetesRollbackSettings


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


_FOLLOW = (
    _Grant(("list", "watch"), "apps", "deployments"),
    _Grant(("list", "watch"), "apps", "replicasets"),
    _Grant(("list", "watch"), "", "pods"),
)
_PLAN = (_Grant(("get",), "apps", "deployments"),)
_ACT = (_Grant(("patch",), "apps", "deployments"),)
_LEASES = "coordination.k8s.io", "leases"


def needs(config: Config) -> tuple[Need, ...]:
    """Return every right that the configuration takes; none writes when all policies observe."""
    cluster = config.rollouts.kubernetes
    if cluster is None:
        return ()
    followed = cluster.namespaces or ("",)
    found = [*_needs(_FOLLOW, followed, "following rollouts", essential=True)]
    rollbacks = {a.name for a in config.actions if isinstance(a, KubernetesRollbackSettings)}
    modes = {
        rule.policy.mode for rule in config.policies if rollbacks & set(rule.policy.actuators)
    }
    if modes:
        found += _needs(_PLAN, followed, "planning rollbacks", essential=True)
    if modes - {Mode.OBSERVE}:
        found += _needs(_ACT, followed, "rolling back", essential=False)
    if config.journal.dsn is not None and config.leadership.namespace is not None:
        home, name = config.leadership.namespace, config.leadership.name
        # a right to create cannot be limited to a name
        for verb, only in (("get", name), ("create", ""), ("patch", name)):
            right = Right(verb, *_LEASES, home, only)
            found.append(Need(right, "electing a leader", essential=True))
    return tuple(dict.fromkeys(found))


def _needs(
    grants: Iterable[_Grant], namespaces: Iterable[str], feature: str, *, essential: bool
) -> Iterator[Need]:
    for grant in grants:
        for namespace in namespaces:
            for verb in grant.verbs:
                right = Right(verb, grant.group, grant.resource, namespace)
                yield Need(right, feature, essential)
