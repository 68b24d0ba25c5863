"""``regions``: which regions there are, how they are judged, and which records lead to them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from actions.dns.record import canonical, name_fault
from actions.regions.limits import Limits
from analyzer.policy import Mode, Policy
from analyzer.regions.policy import RegionPolicy
from rollbackd.config import region_settings as settings
from rollbackd.config.models.base import (
    Bool,
    LabelName,
    Model,
    Name,
    Text,
    default,
)
from rollbackd.config.models.dns import DnsModel
from rollbackd.config.models.policies import DecidersModel
from rollbackd.config.models.signals import SignalModel
from rollbackd.config.models.source import PrometheusModel
from rollbackd.config.quantities import Duration, PositiveDuration, Share, fault, shown

LEAST_REGIONS = 2
RENEW_S = 300.0
"""Evidence of a region known to be sick is weighed anew after at most this long."""


class RecordModel(Model):
    """One record that leads to regions."""

    name: Text
    """The DNS name, such as www.example.com."""
    type: Literal["A", "AAAA", "CNAME"] = "A"
    """Type of the record."""
    dns: Name
    """Which of regions.dns holds it."""
    regions: dict[Name, list[Text]] = Field(min_length=1)
    """For each region its addresses in a plain record, or its members' ids (set identifiers,
    pools) in a weighted or failover one."""

    def settings(self) -> settings.RecordSettings:
        """Return the frozen settings."""
        endpoints = {
            region: tuple(canonical(part) for part in parts)
            for region, parts in self.regions.items()
        }
        return settings.RecordSettings(self.dns, canonical(self.name), self.type, endpoints)


class MemberModel(Model):
    """One region."""

    name: Name
    """What people call it."""
    prometheus: PrometheusModel
    """The Prometheus that measures this region."""
    load: Text | None = None
    """PromQL: what the region carries now, such as requests per second."""
    capacity: Text | None = None
    """PromQL: what the region could carry at most, in the same unit."""
    assume_capacity: Bool = False
    """The region can carry everything: its load is not compared with its capacity."""
    clusters: list[Text] = Field(default_factory=list)
    """Clusters in this region: their shared incidents, and rollbacks that did not help, make a
    sick region be left at once."""

    @model_validator(mode="after")
    def _capacity_is_known(self) -> "MemberModel":
        known = self.load is not None and self.capacity is not None
        if known == self.assume_capacity:
            raise fault(
                "either load and capacity, or assume_capacity, must be given",
                "traffic is never moved into a region whose capacity is not known",
            )
        return self

    def settings(self, base: Path) -> settings.MemberSettings:
        """Return the frozen settings."""
        return settings.MemberSettings(
            name=self.name,
            prometheus=self.prometheus.settings(base),
            load=self.load,
            capacity=self.capacity,
            assume_capacity=self.assume_capacity,
            clusters=tuple(self.clusters),
        )


class RegionsModel(Model):
    """Regions that traffic can leave by DNS."""

    mode: Mode = Mode.OBSERVE
    """observe: say what would be done; approve: a person approves; enforce: act at once."""
    alpha: Annotated[float, Field(gt=0, le=0.5, strict=True)] = 0.001
    """Tolerated probability of calling a healthy region sick, per comparison."""
    history: PositiveDuration = default("1d")
    """How much of its own past a region is compared with (duration); a day holds the daily peak."""
    persistence: Duration = default("1m")
    """A single burst shorter than this cannot decide (duration)."""
    warm_up: Duration = default("1m")
    """Instances younger than this are left out (duration)."""
    sick_for: Duration = default("2m")
    """Sickness must last this long before traffic moves (duration)."""
    healthy_for: PositiveDuration = default("30m")
    """A drained region must have been healthy this long before traffic returns (duration)."""
    dwell: Duration = default("30m")
    """Least time between two moves of a region (duration)."""
    step_pause: Duration = default("1m")
    """Least time between two stages of a move (duration); never less than the old TTL."""
    approval_expires: PositiveDuration = default("30m")
    """An approval that has not come by then is void, and people are called (duration)."""
    stuck_after: PositiveDuration = default("30m")
    """A move that is held up this long between two stages calls people (duration)."""
    steps: list[Share] = Field(default_factory=lambda: [0.5, 1.0], min_length=1)
    """Share of its weight that a region has given up after each stage; rising, the last 100%."""
    deciders: DecidersModel = Field(default_factory=DecidersModel)
    """Who may decide about regions by a message's buttons; default: nobody."""
    min_healthy: Annotated[int, Field(ge=1, strict=True)] = 1
    """Healthy regions that must have traffic after a move."""
    max_moves: Annotated[int, Field(ge=1, strict=True)] = 4
    """Moves of all regions within moves_within; a person may order more."""
    moves_within: PositiveDuration = default("1d")
    """The time for which max_moves counts (duration)."""
    max_ttl: PositiveDuration = default("1h")
    """Records with a longer TTL are not moved (duration): it would not help in time."""
    min_drain: Duration = default("30s")
    """Resolvers keep an answer at least this long, whatever a smaller TTL says (duration)."""
    id_labels: list[LabelName] = Field(default_factory=lambda: ["instance"], min_length=1)
    """Metric labels that identify an instance within its region."""
    signals: list[SignalModel] = Field(min_length=1)
    """What is measured, as in policies."""
    dns: list[DnsModel] = Field(min_length=1)
    """Where records are kept."""
    records: list[RecordModel] = Field(min_length=1)
    """Records that lead to regions; they are moved together."""
    members: list[MemberModel] = Field(min_length=LEAST_REGIONS)
    """The regions, in the order in which they are preferred to take over."""

    @field_validator("steps")
    @classmethod
    def _rising(cls, steps: list[float]) -> list[float]:
        if steps != sorted(set(steps)) or steps[0] <= 0 or steps[-1] != 1:
            raise fault("steps must rise from above 0% to 100%", 'such as ["50%", "100%"]')
        return steps

    @field_validator("signals")
    @classmethod
    def _labels_of_regions(cls, signals: list[SignalModel]) -> list[SignalModel]:
        odd = next((signal.name for signal in signals if signal.id_labels), None)
        if odd is not None:
            raise fault(f"signal {odd} has id_labels", "regions.id_labels is for all of them")
        if any(signal.traffic is not None or signal.traces is not None for signal in signals):
            raise fault(
                "traffic and traces cannot tell how a region stands",
                "use ratio, histogram, interval, level, gauge, leak or rate",
            )
        return signals

    @field_validator("records")
    @classmethod
    def _records_fit(cls, records: list[RecordModel], info: ValidationInfo) -> list[RecordModel]:
        backends = {backend.name: backend for backend in info.data.get("dns", ())}
        for record in records:
            if backends and record.dns not in backends:
                raise fault(f"{record.name}: nothing under dns is called {shown(record.dns)}")
            if record.dns in backends:
                zone = backends[record.dns].provider.zone
                why = name_fault(record.name, record.type, zone)
                if why is not None:
                    raise fault(why)
            parts = [part for region in record.regions.values() for part in region]
            twice = next((part for part in parts if parts.count(part) > 1), None)
            if twice is not None:
                raise fault(f"{record.name}: {shown(twice)} stands for two regions")
        return records

    @field_validator("members")
    @classmethod
    def _members_fit(cls, members: list[MemberModel], info: ValidationInfo) -> list[MemberModel]:
        names = [member.name for member in members]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise fault(f"two regions are called {shown(twice)}")
        for record in info.data.get("records", ()):
            if set(record.regions) != set(names):
                odd = min(set(record.regions) ^ set(names))
                raise fault(
                    f"{record.name} and members do not name the same regions: {shown(odd)}",
                    "every record says what stands for every region",
                )
        return members

    def settings(self, base: Path) -> settings.RegionsSettings:
        """Return the frozen settings."""
        return settings.RegionsSettings(
            moves=self._moves(),
            deciders=self.deciders.settings(),
            compare=Policy(
                name="regions",
                signals=tuple(signal.signal() for signal in self.signals),
                mode=self.mode,
                alpha=self.alpha,
                warm_up_s=self.warm_up,
                persistence_s=self.persistence,
                history_s=self.history,
            ),
            limits=Limits(
                min_healthy=self.min_healthy,
                max_moves=self.max_moves,
                moves_within_s=self.moves_within,
                max_ttl_s=self.max_ttl,
                min_drain_s=self.min_drain,
            ),
            steps=tuple(self.steps),
            id_labels=tuple(self.id_labels),
            dns=tuple(backend.settings(base) for backend in self.dns),
            records=tuple(record.settings() for record in self.records),
            members=tuple(member.settings(base) for member in self.members),
        )

    def _moves(self) -> RegionPolicy:
        return RegionPolicy(
            mode=self.mode,
            sick_for_s=self.sick_for,
            healthy_for_s=self.healthy_for,
            dwell_s=self.dwell,
            step_pause_s=self.step_pause,
            approval_expires_s=self.approval_expires,
            stuck_after_s=self.stuck_after,
            renew_s=min(RENEW_S, self.healthy_for),
        )
