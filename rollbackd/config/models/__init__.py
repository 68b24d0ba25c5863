"""The file as pydantic models: what may be written, key by key, and what it becomes."""

from pathlib import Path
from typing import Any

from pydantic import Field

from actions.guards.settings import GuardSettings
from rollbackd.config import settings
from rollbackd.config.models.actions import ActionModel
from rollbackd.config.models.base import Model, default
from rollbackd.config.models.guards import GuardsModel
from rollbackd.config.models.http import HttpModel
from rollbackd.config.models.journal import JournalModel, LeadershipModel
from rollbackd.config.models.notifiers import LinksModel, NotifierModel
from rollbackd.config.models.policies import PolicyModel
from rollbackd.config.models.regions import RegionsModel
from rollbackd.config.models.rollouts import RolloutsModel
from rollbackd.config.models.source import SourceModel
from rollbackd.config.models.traces import TracesModel
from rollbackd.config.models.trains import TrainModel
from rollbackd.config.quantities import Duration, PositiveDuration

__all__ = ["ConfigModel", "json_schema"]


class ConfigModel(Model, title="rollbackd configuration"):
    """A rollbackd.yaml.

    Durations are written as 500ms, 10s, 2m or 1h30m, sizes as 64MiB, ratios of canary to baseline
    as "+25%" or 1.25, shares of all events as 0.1% or 0.001. Relative file names are relative to
    the configuration file.
    """

    tick: PositiveDuration = default("10s")
    """How often everything is looked at (duration); use the scrape interval."""
    settle: Duration = default("5s")
    """Samples younger than this are not looked at yet (duration)."""
    journal: JournalModel = Field(default_factory=JournalModel)
    """Where the record is kept."""
    leadership: LeadershipModel = Field(default_factory=LeadershipModel)
    """Which of several replicas acts; used with a journal in PostgreSQL."""
    http: HttpModel = Field(default_factory=HttpModel)
    """Where the daemon answers."""
    source: SourceModel
    """Where samples come from: exactly one of prometheus, scrape and recorded."""
    traces: TracesModel | None = None
    """Where traces come from; without it there are none, and no signal may be of traces."""
    rollouts: RolloutsModel
    """What is watched: at least one of kubernetes, static and static_file."""
    actions: list[ActionModel] = Field(default_factory=list)
    """What can be done; policies use these by name."""
    guards: GuardsModel = Field(default_factory=GuardsModel)
    """Reasons not to act, for all policies; each may set its own."""
    policies: list[PolicyModel] = Field(min_length=1)
    """What is measured and what may be done about it; the first that matches is used."""
    regions: RegionsModel | None = None
    """Regions that traffic can leave by DNS; default: none are watched."""
    trains: list[TrainModel] = Field(default_factory=list)
    """Releases that travel over regions, one after the other; default: none."""
    notifiers: list[NotifierModel] = Field(default_factory=list)
    """Who is told, and asked."""
    links: LinksModel = Field(default_factory=LinksModel)
    """What messages link to."""

    def config(self, file: Path) -> settings.Config:
        """Return the frozen configuration; relative file names are relative to the file."""
        base = file.parent
        guards = self.guards.settings(GuardSettings())
        rollbacks = frozenset(a.name for a in self.actions if a.kubernetes_rollback is not None)
        return settings.Config(
            file=file,
            tick_s=self.tick,
            settle_s=self.settle,
            journal=self.journal.settings(base),
            http=self.http.settings(base),
            source=self.source.settings(base),
            rollouts=self.rollouts.settings(base),
            actions=tuple(action.settings(base) for action in self.actions),
            policies=tuple(policy.rule(guards, rollbacks) for policy in self.policies),
            notifiers=tuple(notifier.settings(base) for notifier in self.notifiers),
            links=self.links.settings(),
            regions=None if self.regions is None else self.regions.settings(base),
            trains=tuple(train.settings(base) for train in self.trains),
            leadership=self.leadership.settings(),
            traces=None if self.traces is None else self.traces.settings(base),
            guards=guards,
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigModel.model_json_schema(),
    }
