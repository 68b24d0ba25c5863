"""``regions`` as the daemon sees it: frozen values, validated, all times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actions.regions.limits import Limits
from analyzer.policy import Policy
from analyzer.regions.policy import RegionPolicy
from rollbackd.config.secrets import Secret

if TYPE_CHECKING:
    from rollbackd.config.settings import Deciders, PrometheusSettings

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Rfc2136Settings:
    """A zone that takes dynamic updates; ``server`` is its primary."""

    zone: str
    server: Address
    key_name: str
    algorithm: str
    key: Secret
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Route53Settings:
    """A hosted zone; credentials are those of the AWS SDK's usual chain."""

    zone_id: str
    zone: str
    endpoint: str | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class CloudDnsSettings:
    """A managed zone; without a file, credentials are the platform's own."""

    project: str
    managed_zone: str
    zone: str
    credentials_file: Path | None
    timeout_s: float


@dataclass(frozen=True, slots=True)
class CloudflareSettings:
    """A zone of Cloudflare."""

    zone_id: str
    zone: str
    token: Secret
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ExternalDnsSettings:
    """Objects that ExternalDNS carries out, in the cluster that ``rollouts.kubernetes`` names.

    Attributes:
        resource: dnsendpoints (one), services or ingresses. objects: their names.
        annotation_prefix: of the annotations of services and ingresses.
        interval_s: how long ExternalDNS takes at most to see a change.
    """

    namespace: str
    resource: str
    objects: tuple[str, ...]
    zone: str
    annotation_prefix: str
    interval_s: float


Argument = bool | int | float | str | list[str] | Secret


@dataclass(frozen=True, slots=True)
class OctoDnsSettings:
    """A provider of octoDNS, by its class and what the class is given."""

    zone: str
    provider: str
    arguments: Mapping[str, Argument]
    max_records: int


ProviderSettings = (
    Rfc2136Settings
    | Route53Settings
    | CloudDnsSettings
    | CloudflareSettings
    | ExternalDnsSettings
    | OctoDnsSettings
)


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """One named backend. ``nameservers``: asked instead of the zone's own, where it has some."""

    name: str
    provider: ProviderSettings
    nameservers: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """One record that leads to regions, and what stands for each of them in it."""

    dns: str
    name: str
    type: str
    endpoints: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """One region: its Prometheus, what it carries and could carry, the clusters in it."""

    name: str
    prometheus: "PrometheusSettings"
    load: str | None
    capacity: str | None
    assume_capacity: bool
    clusters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegionsSettings:
    """Everything about regions.

    Attributes:
        moves: when traffic moves. compare: how regions are judged. limits: what a move respects.
        steps: share of its weight that a region has given up after each stage.
        id_labels: metric labels that identify an instance within its region.
        deciders: who may decide by a message's buttons.
    """

    moves: RegionPolicy
    compare: Policy
    limits: Limits
    steps: tuple[float, ...]
    id_labels: tuple[str, ...]
    dns: tuple[DnsSettings, ...]
    records: tuple[RecordSettings, ...]
    members: tuple[MemberSettings, ...]
    deciders: "Deciders"

    def secrets(self) -> dict[str, Secret]:
        """Return every secret by the key path it is configured at."""
        found = {}
        for place, backend in enumerate(self.dns):
            match backend.provider:
                case Rfc2136Settings(key=secret) | CloudflareSettings(token=secret):
                    found[f"regions.dns[{place}]"] = secret
                case OctoDnsSettings(arguments=arguments):
                    where = f"regions.dns[{place}].octodns.arguments"
                    named = {f"{where}.{name}": value for name, value in arguments.items()}
                    found |= {k: v for k, v in named.items() if isinstance(v, Secret)}
                case _:
                    pass
        for place, member in enumerate(self.members):
            where = f"regions.members[{place}].prometheus"
            if member.prometheus.bearer_token is not None:
                found[f"{where}.bearer_token"] = member.prometheus.bearer_token
            if member.prometheus.basic_auth is not None:
                found[f"{where}.basic_auth.password"] = member.prometheus.basic_auth.password
        return found
