"""The file as pydantic models: what may be written, key by key, and what it becomes."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from rollbackd.config import settings
from rollbackd.config.models.actions import ActionModel
from rollbackd.config.models.base import Model, Text, default
from rollbackd.config.models.http import HttpModel
from rollbackd.config.models.policies import PolicyModel
from rollbackd.config.models.rollouts import RolloutsModel
from rollbackd.config.models.source import SourceModel
from rollbackd.config.quantities import Duration, PositiveDuration, fault, shown

__all__ = ["ConfigModel", "json_schema"]

_SQLITE = "sqlite:///"


def _journal_url(url: str) -> str:
    if not url.startswith(_SQLITE):
        backend = re.match(r"[\w+]+(?=:)", url)
        what = f"{backend[0]} is not supported" if backend else f"{shown(url)} is not a URL"
        raise fault(what, "write sqlite:///path/to/file")
    if url.removeprefix(_SQLITE) in {"", ":memory:"} or "?" in url:
        raise fault(f"{shown(url)} names no file", "write sqlite:///path/to/file")
    return url


class JournalModel(Model):
    """The record of what was decided and done; a restart goes on from it."""

    url: Annotated[Text, AfterValidator(_journal_url)] = "sqlite:///rollbackd.db"
    """sqlite:/// and a file name; on a local disk that survives a restart."""

    def settings(self, base: Path) -> settings.JournalSettings:
        """Return the frozen settings, with an absolute file name."""
        file = (base / Path(self.url.removeprefix(_SQLITE)).expanduser()).absolute()
        return settings.JournalSettings(f"{_SQLITE}{file}")


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
    http: HttpModel = Field(default_factory=HttpModel)
    """Where the daemon answers."""
    source: SourceModel
    """Where samples come from: exactly one of prometheus, scrape and recorded."""
    rollouts: RolloutsModel
    """What is watched: at least one of kubernetes, static and static_file."""
    actions: list[ActionModel] = Field(default_factory=list)
    """What can be done; policies use these by name."""
    policies: list[PolicyModel] = Field(min_length=1)
    """What is measured and what may be done about it; the first that matches is used."""

    def config(self, file: Path) -> settings.Config:
        """Return the frozen configuration; relative file names are relative to the file."""
        base = file.parent
        return settings.Config(
            file=file,
            tick_s=self.tick,
            settle_s=self.settle,
            journal=self.journal.settings(base),
            http=self.http.settings(base),
            source=self.source.settings(base),
            rollouts=self.rollouts.settings(base),
            actions=tuple(action.settings(base) for action in self.actions),
            policies=tuple(policy.rule() for policy in self.policies),
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigModel.model_json_schema(),
    }
