"""RollbackPolicy objects: what they say, or everything that is wrong with them.

The same models and checks read them that read the configuration file, both in the daemon and for
``rollbackd validate``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from actions.guards.settings import GuardSettings
from analyzer.policy import Mode, lowered
from rollbackd.config.complaints import faults
from rollbackd.config.cross_checks import Offer, policy_checks
from rollbackd.config.document import Document, read_all
from rollbackd.config.models.policies import WorkloadMatchModel
from rollbackd.config.models.policy_resource import (
    API_VERSION,
    KIND,
    PolicyManifestModel,
    PolicySpecModel,
)
from rollbackd.config.problems import ConfigError, Fault, Problem, key_path
from rollbackd.config.settings import Config, Match, PolicyRule


@dataclass(frozen=True, slots=True)
class Limits:
    """How much policies of the cluster count: what the configuration file says about them.

    Attributes:
        mode: they go this far at most. offer: what they can build on.
        guards: those of all policies, which they can only make stricter.
    """

    mode: Mode = Mode.ENFORCE
    offer: Offer = field(default_factory=Offer)
    guards: GuardSettings = field(default_factory=GuardSettings)

    @classmethod
    def of(cls, config: Config) -> "Limits":
        """Return what a configuration allows; nothing but observing when it reads none."""
        cluster = config.rollouts.kubernetes
        resources = cluster.policy_resources if cluster is not None else None
        actions = config.resource_actions
        rollbacks = frozenset(config.rollbacks).intersection(actions)
        offer = Offer(actions, rollbacks, traces=config.traces is not None)
        return cls(Mode.OBSERVE if resources is None else resources.mode, offer, config.guards)


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """A RollbackPolicy that is valid.

    Attributes:
        rule: what it says, under the name ``namespace/name``; its mode is lowered to the limit.
        asked: the mode that it says. priority: over others of its namespace.
    """

    rule: PolicyRule
    asked: Mode
    priority: int


class PolicyInvalid(ValueError):
    """A RollbackPolicy cannot be used; ``faults`` are all that is wrong with it."""

    def __init__(self, found: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(found), key=lambda fault: key_path(fault.location)))
        super().__init__(self.faults)

    def __str__(self) -> str:
        """Return everything in one line, each with its key."""
        problems = (Problem(0, key_path(f.location), f.what, f.hint) for f in self.faults)
        return "; ".join(map(str, problems))


def resource_name(namespace: str, name: str) -> str:
    """Return what a policy of the cluster is called everywhere else; the file has no such names."""
    return f"{namespace}/{name}"


def read_policy(manifest: Mapping[str, Any], limits: Limits) -> ReadPolicy:
    """Return what a RollbackPolicy says.

    Args:
        manifest: the object, as the API server tells it or as it is in a file.
        limits: how much it counts.

    Raises:
        PolicyInvalid: with everything that is wrong.
    """
    values = dict(manifest)
    spec = values.get("spec")
    found = list(policy_checks(("spec",), spec, limits.offer)) if isinstance(spec, dict) else []
    model = None
    try:
        model = PolicyManifestModel.model_validate(values)
    except ValidationError as error:
        found.extend(faults(error, PolicyManifestModel))
    if model is None or found:
        raise PolicyInvalid(found)
    return _read(model.spec, model.metadata.namespace, model.metadata.name, limits)


def _read(spec: PolicySpecModel, namespace: str, name: str, limits: Limits) -> ReadPolicy:
    guards = limits.guards.tightened(spec.guards.settings(limits.guards))
    rule = spec.terms(
        resource_name(namespace, name),
        spec.match.match((namespace,)),
        guards,
        limits.offer.rollbacks or frozenset(),
    )
    mode = lowered(rule.policy.mode, limits.mode)
    # Observing changes nothing, and a hold pauses Deployments.
    hold = None if mode is Mode.OBSERVE else rule.hold
    rule = replace(rule, policy=replace(rule.policy, mode=mode), hold=hold)
    return ReadPolicy(rule, spec.mode, spec.priority)


def match_of(manifest: Mapping[str, Any], namespace: str) -> Match | None:
    """Return which workloads a policy means that is otherwise wrong; None when that is wrong, too."""
    spec = manifest.get("spec")
    match = spec.get("match") if isinstance(spec, dict) else None
    try:
        model = WorkloadMatchModel.model_validate({} if match is None else match)
    except ValidationError:
        return None
    return model.match((namespace,))


# In files


@dataclass(frozen=True, slots=True)
class Manifests:
    """What a file of manifests holds.

    Attributes:
        policies: every RollbackPolicy in it. others: the kinds of the other objects, not looked at.
    """

    policies: tuple[ReadPolicy, ...]
    others: tuple[str, ...]


def is_manifest(file: Path) -> bool:
    """Say whether a file holds objects of a cluster, and no configuration of the daemon.

    Raises:
        ConfigError: it cannot be read.
    """
    return any(_is_object(document) for document in read_all(file))


def _is_object(document: Document) -> bool:
    values = document.values
    return isinstance(values, dict) and "apiVersion" in values and "kind" in values


def load_manifests(file: Path, limits: Limits) -> Manifests:
    """Read every RollbackPolicy of a file of manifests.

    Raises:
        ConfigError: with every problem of the file.
    """
    policies: list[ReadPolicy] = []
    others: list[str] = []
    problems: set[Problem] = set()
    for document in read_all(file):
        problems |= set(document.repeated)
        if not _is_object(document):
            what = "this is no object of Kubernetes: apiVersion or kind is missing"
            problems.add(Problem(document.line(()), "", what))
        elif document.values["kind"] != KIND:
            others.append(str(document.values["kind"]))
        else:
            try:
                policies.append(read_policy(document.values, limits))
            except PolicyInvalid as error:
                problems |= {document.problem(fault) for fault in error.faults}
    if not policies and not problems:
        what = f"there is no {KIND} in it"
        problems.add(Problem(0, "", what, f"apiVersion: {API_VERSION}, kind: {KIND}"))
    if problems:
        raise ConfigError(file, problems)
    return Manifests(tuple(policies), tuple(others))
