"""The file as pydantic models: what may be written, key by key, and what it becomes."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from rollbackd.config import settings
from rollbackd.config.models.actions import ActionModel
from rollbackd.config.models.base import Address, Model, Text, default, host_and_port, secret
from rollbackd.config.models.policies import PolicyModel
from rollbackd.config.models.regions import RegionsModel
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


class HttpModel(Model):
    """The daemon's HTTP server: API, /metrics, /healthz, /readyz."""

    listen: Address = "127.0.0.1:9469"
    """host:port to listen on. Anybody who reaches it can read; 0.0.0.0 means everybody."""
    token_file: Text | None = None
    """File with the bearer token that approving or rejecting a plan over HTTP asks for."""
    token_env: Text | None = None
    """Environment variable with that token. Without a token nobody can decide over HTTP."""

    @field_validator("token_env")
    @classmethod
    def _one_token(cls, env: str | None, info: ValidationInfo) -> str | None:
        if env is not None and info.data.get("token_file") is not None:
            raise fault("there is token_file, too", "keep one of the two")
        return env

    def settings(self, base: Path) -> settings.HttpSettings:
        """Return the frozen settings."""
        token = secret(base, self.token_file, self.token_env)
        return settings.HttpSettings(*host_and_port(self.listen), token)


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
    regions: RegionsModel | None = None
    """Regions that traffic can leave by DNS; default: none are watched."""

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
            regions=None if self.regions is None else self.regions.settings(base),
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ConfigModel.model_json_schema(),
    }
