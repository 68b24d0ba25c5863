"""Every policy, of the cluster and of the file: which one counts for what."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from actions.guards.guard import Strength
from actions.guards.settings import GuardSettings
from actions.hold_settings import HoldSettings
from analyzer.policy import NOT_WATCHED, Policy
from analyzer.rollout import Rollout
from analyzer.sample import Missing
from rollbackd.config.settings import Config, Deciders, PolicyRule
from rollbackd.policies.resource import PolicyResource
from rollbackd.policies.source import PolicyResources
from rollbackd.rollouts.static import KIND as STATIC

T = TypeVar("T")

ASK_AGAIN_S = 60.0
"""What people are told of how long a policy will stay unread, which nobody knows."""


class PolicyBook:
    """The policies in force. May be asked from any thread.

    Policies of the cluster are called ``namespace/name``, as none of the file can be.

    Args:
        config: the configuration with the policies of the file.
        resources: the policies of the cluster; None when they are not read.
    """

    def __init__(self, config: Config, resources: PolicyResources | None = None) -> None:
        self._config = config
        self._resources = resources

    # What the controller asks

    def policy_for(self, rollout: Rollout) -> Policy | None:
        """Return the policy of a rollout, or None when nobody asked to watch it.

        The one that the workload names wins, then the first that matches of its namespace's, then
        the file's. A policy that means the workload and cannot be used leaves it unwatched, as one
        that does not exist: another could do more than its owner wants. So it is, too, while the
        cluster's policies were never seen.
        """
        if rollout.mode == NOT_WATCHED:
            return None
        resources = self._resources
        workload = rollout.workload
        if resources is None or workload.cluster != resources.cluster or workload.kind == STATIC:
            return self._config.policy_for(rollout)
        found = resources.all()
        if isinstance(found, Missing):
            return None
        own = [policy for policy in found if policy.namespace == workload.namespace]
        chosen = _chosen(rollout, own)
        if chosen is None:
            return self._config.policy_for(rollout)
        return chosen.read.rule.policy if chosen.read is not None else None

    def named(self, name: str) -> Policy | None:
        """Return a policy of the file, or None when there is none.

        A watch under one of the cluster keeps the version it began with, also over a restart.
        """
        return self._config.named(name)

    def lapsed(self, name: str) -> bool:
        """Tell whether a policy is known to be gone."""
        if "/" not in name:
            return self._config.lapsed(name)
        if self._resources is None:
            return True
        found = self._resources.all()
        if isinstance(found, Missing) or not self._resources.is_complete:
            return False
        return all(policy.full_name != name for policy in found)

    # What the rest of the daemon asks

    def rules(self) -> tuple[PolicyRule, ...]:
        """Return every rule in force, in the order in which they are matched."""
        ordered = sorted(self._known(), key=lambda policy: (policy.namespace, policy.order))
        own = (policy.read.rule for policy in ordered if policy.read is not None)
        return (*own, *self._config.policies)

    def deciders(self, name: str) -> Deciders:
        """Return who may decide under the policy of this name; nobody when there is none."""
        rule = self.rule(name)
        return Deciders() if rule is None else rule.deciders

    def rule(self, name: str) -> PolicyRule | None:
        """Return the rule of this name as it is now, or None when there is none."""
        if "/" not in name:
            return next((r for r in self._config.policies if r.policy.name == name), None)
        reads = (p.read for p in self._known() if p.full_name == name)
        return next((read.rule for read in reads if read is not None), None)

    @property
    def guards(self) -> Mapping[str, GuardSettings]:
        """The settings of the guards, by the policy's name.

        While a policy of the cluster cannot be read, nobody knows how strict its guards are: those
        of all policies hold, and a person has to approve.
        """
        return _ByName(self, lambda rule: rule.guards, self._unread_guards)

    def _unread_guards(self, name: str) -> GuardSettings | None:
        if "/" not in name:
            return None
        base = self._config.guards
        return replace(base, freezes=(*base.freezes, _Unread(f"policy {name} cannot be read")))

    @property
    def holds(self) -> Mapping[str, HoldSettings]:
        """How rolling updates are held, by the policy's name; without those that hold none."""
        return _ByName(self, lambda rule: rule.hold)

    def _known(self) -> tuple[PolicyResource, ...]:
        found = () if self._resources is None else self._resources.all()
        return () if isinstance(found, Missing) else found


def _chosen(rollout: Rollout, own: list[PolicyResource]) -> PolicyResource | None:
    """Return the policy of its namespace that a rollout asks for or that means it, if any."""
    if rollout.policy is not None:
        return next((policy for policy in own if policy.name == rollout.policy), None)
    meant = (p for p in own if p.match is not None and p.match.fits(rollout))
    return min(meant, key=lambda policy: policy.order, default=None)


@dataclass(frozen=True, slots=True)
class _Unread:
    """A freeze that is on for as long as somebody asks; ``actions.guards.Freeze``."""

    name: str
    strength: Strength = Strength.ASK

    def ends_at(self, now: float) -> float | None:
        """Return when it is worth asking again."""
        return now + ASK_AGAIN_S


class _ByName(Mapping[str, T]):
    """One thing of each rule by the policy's name, as it is at the moment it is asked for."""

    def __init__(
        self,
        book: PolicyBook,
        part: Callable[[PolicyRule], T | None],
        otherwise: Callable[[str], T | None] = lambda _: None,
    ) -> None:
        self._book = book
        self._part = part
        self._otherwise = otherwise

    def __getitem__(self, name: str) -> T:
        rule = self._book.rule(name)
        found = self._otherwise(name) if rule is None else self._part(rule)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        rules = self._book.rules()
        return (rule.policy.name for rule in rules if self._part(rule) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
