"""``guards``: reasons not to act, for all policies or for one."""

from dataclasses import replace
from datetime import datetime, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from actions.guards.guard import Freeze, OwnerRule, Strength
from actions.guards.settings import GuardSettings
from rollbackd.config.freezes import MAX_LASTS_S, CronFreeze, SpanFreeze, parse_cron
from rollbackd.config.models.base import Model, Text
from rollbackd.config.quantities import PositiveDuration, fault, format_duration, shown

MAX_WINDOW_S = 86400.0
"""Budgets and incidents look back at most a day."""

MOST_FREEZES = 50

_MOMENT = "%Y-%m-%d %H:%M"


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise fault(f"no time zone is called {shown(name)}", "such as Europe/Berlin") from error
    return name


def _moment(text: str) -> str:
    try:
        datetime.strptime(text, _MOMENT)  # noqa: DTZ007 - the zone is a key of its own
    except ValueError as error:
        raise fault(f"{shown(text)} is not a moment", 'such as "2026-11-26 18:00"') from error
    return text


def _window(seconds: float) -> float:
    if seconds > MAX_WINDOW_S:
        raise fault(f"must not be longer than a day, and is {format_duration(seconds)}")
    return seconds


def _lasts(seconds: float) -> float:
    if seconds > MAX_LASTS_S:
        raise fault(f"must not be longer than 31 days, and is {format_duration(seconds)}")
    return seconds


Moment = Annotated[
    Text,
    AfterValidator(_moment),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}$", "maxLength": 16}
    ),
]
Count = Annotated[int, Field(ge=1, strict=True)]
Window = Annotated[PositiveDuration, AfterValidator(_window)]


class FreezeModel(Model):
    """A time in which nothing is changed: from and to, or cron and lasts."""

    name: Text
    """What people call it; told when it is the reason."""
    timezone: Annotated[Text, AfterValidator(_timezone)] = "UTC"
    """Time zone of all its times, such as Europe/Berlin."""
    begin: Moment | None = Field(default=None, alias="from")
    """When it begins: "2026-11-26 18:00"."""
    end: Moment | None = Field(default=None, alias="to")
    """When it ends; later than from."""
    cron: Text | None = None
    """When it begins each time, in five fields: "0 18 * * fri" is Friday at 18:00."""
    lasts: Annotated[PositiveDuration, AfterValidator(_lasts)] | None = None
    """How long it lasts each time (duration)."""
    then: Strength = Strength.REFUSE
    """refuse: no plan, people are called; ask: a person has to approve it; warn: it is only said."""

    @field_validator("end")
    @classmethod
    def _after_its_begin(cls, end: str | None, info: ValidationInfo) -> str | None:
        begin = info.data.get("begin")
        if begin is not None and end is not None and end <= begin:
            raise fault("it ends before it begins", f"later than {begin}")
        return end

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str | None) -> str | None:
        if cron is not None:
            try:
                parse_cron(cron, ZoneInfo("UTC"))
            except ValueError as error:
                raise fault(str(error), 'such as "0 18 * * fri"') from error
        return cron

    @field_validator("then")
    @classmethod
    def _one_kind(cls, then: Strength, info: ValidationInfo) -> Strength:
        keys = [("from", "begin"), ("to", "end"), ("cron", "cron"), ("lasts", "lasts")]
        if any(field not in info.data for _, field in keys):
            return then  # one of them is wrong, and says so
        given = [key for key, field in keys if info.data[field] is not None]
        if given not in (["from", "to"], ["cron", "lasts"]):
            what = " and ".join(given) or "no time"
            raise fault(
                f"{what} alone do not make a freeze", "give from and to, or cron and lasts"
            )
        return then

    def freeze(self) -> Freeze:
        """Return the window."""
        zone = ZoneInfo(self.timezone)
        if self.cron is not None and self.lasts is not None:
            return CronFreeze(self.name, self.then, parse_cron(self.cron, zone), self.lasts)
        return SpanFreeze(
            self.name, self.then, _seconds(self.begin or "", zone), _seconds(self.end or "", zone)
        )


def _seconds(moment: str, zone: tzinfo) -> float:
    return datetime.strptime(moment, _MOMENT).replace(tzinfo=zone).timestamp()


class GuardsModel(Model):
    """Reasons not to act. What a policy sets replaces what is set for all; the rest stays."""

    namespace_budget: Count | None = None
    """Actions within budget_window in one namespace; the next is refused. Default: 5."""
    cluster_budget: Count | None = None
    """Actions within budget_window in one cluster; the next is refused. Default: 10."""
    budget_window: Window | None = None
    """The window of both budgets (duration, at most 1d). Default: 1h."""
    incident_workloads: Count | None = None
    """So many workloads of a cluster degraded within incident_window are a platform incident:
    nothing is rolled back, people are called. Default: 5."""
    incident_window: Window | None = None
    """The window of an incident (duration, at most 1d). Default: 10m."""
    freezes: Annotated[list[FreezeModel], Field(max_length=MOST_FREEZES)] | None = None
    """Times in which nothing is changed. Default: none."""
    capacity: Strength | None = None
    """When the revision to go back to could not run at full size. Default: refuse."""
    schema_: Strength | None = Field(default=None, alias="schema")
    """When the canary migrated a schema that its baseline does not work with. Default: refuse."""
    returned: Strength | None = None
    """When the canary was rolled back before and somebody put it back. Default: ask."""

    gitops: OwnerRule | None = None
    """When Argo CD or Flux would put the canary back: refuse; warn and go on; or hold: suspend
    the automatic sync of that one object first, until `rollbackd release`. Default: refuse."""

    def settings(self, base: GuardSettings) -> GuardSettings:
        """Return the frozen settings: what is set here over ``base``."""
        given = {
            "namespace_budget": self.namespace_budget,
            "cluster_budget": self.cluster_budget,
            "budget_window_s": self.budget_window,
            "incident_workloads": self.incident_workloads,
            "incident_window_s": self.incident_window,
            "capacity": self.capacity,
            "schema": self.schema_,
            "returned": self.returned,
            "gitops": self.gitops,
        }
        freezes = base.freezes
        if self.freezes is not None:
            freezes = tuple(freeze.freeze() for freeze in self.freezes)
        changed = {key: value for key, value in given.items() if value is not None}
        return replace(base, freezes=freezes, **changed)  # type: ignore[arg-type]
