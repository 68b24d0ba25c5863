"""``policies``: what is measured, how sure the daemon must be, and what it may do."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from actions.gitops_hold import NAME as HOLD
from actions.guards.guard import OwnerRule
from actions.guards.settings import GuardSettings
from analyzer.policy import FactUse, Mode, Policy, WhenMissing
from rollbackd.config import settings
from rollbackd.config.models.base import Bool, Model, Name, Text, default
from rollbackd.config.models.guards import GuardsModel
from rollbackd.config.models.hold import HoldModel
from rollbackd.config.models.rollouts import Kind
from rollbackd.config.models.signals import SignalModel
from rollbackd.config.quantities import Duration, PositiveDuration, fault, format_duration

MOST_SIGNALS = 50
MOST_ACTIONS = 10
MOST_NAMES = 100
"""More of them is a mistake; the API server wants a bound, to know what its checks cost."""

Signals = Annotated[list[SignalModel], Field(min_length=1, max_length=MOST_SIGNALS)]

AUTO = BeforeValidator(
    lambda value: None if value == "auto" else value,
    json_schema_input_type=Literal["auto"] | Signals | None,
)
"""``auto`` stands for no list: the signals are found when a watch begins."""


class WorkloadMatchModel(Model):
    """Which workloads a policy is for; every part that is there must fit. Empty: all."""

    names: list[Text] = Field(default_factory=list, max_length=MOST_NAMES)
    """Names of workloads, or shell patterns."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the workload, all of them equal."""
    kinds: list[Kind] = Field(default_factory=list, max_length=MOST_NAMES)
    """Kinds of workloads; default: all."""

    def match(self, namespaces: Sequence[str]) -> settings.Match:
        """Return the frozen settings; ``namespaces``: those it is limited to, or none."""
        kinds = tuple(kind.value for kind in self.kinds)
        return settings.Match(tuple(namespaces), tuple(self.names), self.labels, kinds)


class _NamespacesModel(Model):
    namespaces: list[Text] = Field(default_factory=list)
    """Namespaces, or shell patterns such as shop-*."""


class MatchModel(WorkloadMatchModel, _NamespacesModel):
    """Which rollouts a policy is for; every part that is there must fit. Empty: all."""


class DecidersModel(Model):
    """Who may press the buttons of a message. Over HTTP, the token decides instead."""

    users: list[Text] = Field(default_factory=list, max_length=MOST_NAMES)
    """Slack user ids (U...), or e-mail addresses when the app may read them."""
    groups: list[Text] = Field(default_factory=list, max_length=MOST_NAMES)
    """Slack user groups, by id (S...)."""
    four_eyes: Bool = False
    """Whoever the annotation rollbackd.io/author names does not decide about that rollout."""

    def settings(self) -> settings.Deciders:
        """Return the frozen settings."""
        return settings.Deciders(tuple(self.users), tuple(self.groups), self.four_eyes)


class TermsModel(Model):
    """What a policy says, wherever it is written and whatever it is for."""

    mode: Mode = Mode.OBSERVE
    """observe: everything but the last step; approve: a person approves; enforce: act at once."""
    alpha: Annotated[float, Field(gt=0, le=0.5, strict=True)] = 0.01
    """Tolerated probability of rolling back a healthy rollout, per rollout; above 0, at most 0.5."""
    warm_up: Duration = default("1m")
    """Instances younger than this are left out on both sides (duration)."""
    min_observation: Duration = default("2m")
    """A rollout is never called healthy before this age (duration)."""
    horizon: PositiveDuration = default("1h")
    """When nothing is decided by then, the watch ends inconclusive (duration)."""
    persistence: Duration = default("30s")
    """A single burst shorter than this cannot decide (duration)."""
    history: Duration = default("2h")
    """How much of the baseline's past its noise is learnt from (duration)."""
    when_missing: WhenMissing = WhenMissing.HOLD
    """While critical signals cannot be measured: hold, ignore or page. Never roll back."""
    blind_after: PositiveDuration = default("2m")
    """Critical signals missing this long count as blindness (duration)."""
    facts: FactUse = FactUse.ACT
    """What the cluster says of the canary's pods (crash loops, images that cannot be pulled, never
    ready): act as the mode allows, show it only, or ignore it."""
    facts_after: Duration = default("1m")
    """How long the canary's pods must be in distress before that decides (duration)."""
    recovery: PositiveDuration = default("5m")
    """How long an action may take to show its effect before people are called (duration)."""
    approval_expires: PositiveDuration = default("30m")
    """An approval that has not come by then is void, and people are called (duration)."""
    cool_down: Duration = default("30m")
    """A workload acted on is not acted on again this long (duration)."""
    request_mix: Bool = True
    """Whether both sides get the same requests is looked at, where a label tells what was asked for;
    what other requests could explain is then no evidence."""
    actions: list[Name] = Field(default_factory=list, max_length=MOST_ACTIONS)
    """Names of actions, used in this order."""
    after_promotion: Duration = default("0s")
    """When nothing older is left, the new revision is compared with its workload's own past for
    this long (duration); 0s: not at all."""
    after_promotion_mode: Mode = Mode.APPROVE
    """How far that may go at most, which is less certain than a comparison of a rollout."""
    guards: GuardsModel = Field(default_factory=GuardsModel)
    """Reasons not to act; what is not set here is as under guards for all policies."""
    deciders: DecidersModel = Field(default_factory=DecidersModel)
    """Who may decide by a message's buttons; default: nobody."""
    hold: HoldModel | None = None
    """Hold a Deployment's rolling update back until it is judged. Default: it is not held."""
    signals: Annotated[Signals | None, AUTO] = None
    """What is measured. auto: ready-made signals, found when a watch begins from what the source
    exposes for its instances; rollbackd signals lists them."""

    @field_validator("horizon")
    @classmethod
    def _beyond_observation(cls, horizon: float, info: ValidationInfo) -> float:
        least = info.data.get("min_observation", 0.0)
        if horizon < least:
            raise fault(
                f"the watch would end after {format_duration(horizon)}, before min_observation "
                f"({format_duration(least)})",
                "make horizon longer, or min_observation shorter",
            )
        return horizon

    def terms(
        self,
        name: str,
        match: settings.Match,
        own_guards: GuardSettings,
        rollbacks: frozenset[str],
    ) -> settings.PolicyRule:
        """Return the policy, what it is for, and its guards.

        Args:
            name: by which it is known everywhere.
            match: what it is for.
            own_guards: its guards, complete.
            rollbacks: names of the actions that a GitOps owner would undo.
        """
        # A hold comes first: once the rollback is written, the owner may already undo it.
        is_undone = own_guards.gitops is OwnerRule.HOLD and not rollbacks.isdisjoint(self.actions)
        hold = (HOLD,) if is_undone else ()
        policy = Policy(
            name=name,
            signals=tuple(signal.signal() for signal in self.signals or ()),
            discovers=self.signals is None,
            request_mix=self.request_mix,
            mode=self.mode,
            alpha=self.alpha,
            warm_up_s=self.warm_up,
            min_observation_s=self.min_observation,
            horizon_s=self.horizon,
            persistence_s=self.persistence,
            history_s=self.history,
            when_missing=self.when_missing,
            blind_after_s=self.blind_after,
            recovery_s=self.recovery,
            approval_expires_s=self.approval_expires,
            cool_down_s=self.cool_down,
            actuators=(*hold, *self.actions),
            facts=self.facts,
            facts_after_s=self.facts_after,
            after_promotion_s=self.after_promotion,
            after_promotion_mode=self.after_promotion_mode,
        )
        hold_back = self.hold.settings() if self.hold is not None else None
        deciders = self.deciders.settings()
        return settings.PolicyRule(policy, match, deciders, own_guards, hold_back)


class _HeadModel(Model):
    name: Name
    """Unique; workloads can ask for it by this name."""
    match: MatchModel = Field(default_factory=MatchModel)
    """Which rollouts it is for; default: all."""


class PolicyModel(TermsModel, _HeadModel):
    """One policy. The first in the file that matches a rollout is used."""

    def rule(self, guards: GuardSettings, rollbacks: frozenset[str]) -> settings.PolicyRule:
        """Return the policy, what it is for, and its guards.

        Args:
            guards: those of all policies.
            rollbacks: names of the actions that a GitOps owner would undo.
        """
        match = self.match.match(self.match.namespaces)
        return self.terms(self.name, match, self.guards.settings(guards), rollbacks)
