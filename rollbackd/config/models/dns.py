"""``regions.dns``: where records are kept, a model for each provider."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from rollbackd.config import region_settings as settings
from rollbackd.config.models.base import (
    Address,
    Model,
    Name,
    Text,
    Url,
    WithSecret,
    default,
    host_and_port,
    one_secret,
    path,
)
from rollbackd.config.quantities import PositiveDuration, fault, shown
from rollbackd.config.secrets import Secret

ANNOTATION_PREFIX = "external-dns.alpha.kubernetes.io"
Algorithm = Literal["hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1"]


class Rfc2136Model(WithSecret):
    """Dynamic update signed with TSIG: BIND, Knot, PowerDNS. Plain records."""

    zone: Text
    """The zone that may be changed."""
    server: Address
    """host:port of the primary server; the host is an IP address."""
    key_name: Text
    """Name of the TSIG key."""
    algorithm: Algorithm = "hmac-sha256"
    """Algorithm of the TSIG key."""
    timeout: PositiveDuration = default("5s")
    """How long one exchange with the server may take (duration)."""

    def settings(self, base: Path) -> settings.Rfc2136Settings:
        """Return the frozen settings."""
        return settings.Rfc2136Settings(
            zone=self.zone,
            server=host_and_port(self.server),
            key_name=self.key_name,
            algorithm=self.algorithm,
            key=one_secret(base, self.secret_file, self.secret_env),
            timeout_s=self.timeout,
        )


class Route53Model(Model):
    """Amazon Route 53: simple, weighted and failover records.

    Credentials are found as the AWS SDK does: environment, files, or the platform's own.
    """

    zone_id: Text
    """Id of the hosted zone."""
    zone: Text
    """Its name, such as example.com."""
    endpoint: Url | None = None
    """Address of the API; default: Amazon's."""
    timeout: PositiveDuration = default("10s")
    """How long one call may take (duration)."""

    def settings(self, _: Path) -> settings.Route53Settings:
        """Return the frozen settings."""
        return settings.Route53Settings(self.zone_id, self.zone, self.endpoint, self.timeout)


class CloudDnsModel(Model):
    """Google Cloud DNS: plain records and weighted round robin."""

    project: Text
    """Google Cloud project."""
    managed_zone: Text
    """Name of the managed zone."""
    zone: Text
    """Its DNS name, such as example.com."""
    credentials_file: Text | None = None
    """File of a service account's key; default: the platform's own identity."""
    timeout: PositiveDuration = default("10s")
    """How long one call may take (duration)."""

    def settings(self, base: Path) -> settings.CloudDnsSettings:
        """Return the frozen settings."""
        file = path(base, self.credentials_file)
        return settings.CloudDnsSettings(
            self.project, self.managed_zone, self.zone, file, self.timeout
        )


class CloudflareModel(WithSecret):
    """Cloudflare: plain records and load balancers. Its API has no compare-and-set."""

    zone_id: Text
    """Id of the zone."""
    zone: Text
    """Its name, such as example.com."""
    timeout: PositiveDuration = default("10s")
    """How long one call may take (duration)."""

    def settings(self, base: Path) -> settings.CloudflareSettings:
        """Return the frozen settings."""
        token = one_secret(base, self.secret_file, self.secret_env)
        return settings.CloudflareSettings(self.zone_id, self.zone, token, self.timeout)


class ExternalDnsModel(Model):
    """Objects that ExternalDNS carries out; needs rollouts.kubernetes.

    Exactly one of endpoint, services and ingresses.
    """

    namespace: Text
    """Namespace of the objects."""
    endpoint: Text | None = None
    """Name of a DNSEndpoint."""
    services: list[Text] = Field(default_factory=list)
    """Names of Services with ExternalDNS' annotations: one for a plain record, one for each
    set-identifier of a weighted one."""
    ingresses: list[Text] = Field(default_factory=list)
    """The same for Ingresses."""
    zone: Text
    """The zone whose servers show when it is done."""
    annotation_prefix: Text = ANNOTATION_PREFIX
    """What the annotations begin with; external-dns.kubernetes.io by default since ExternalDNS
    0.22."""
    interval: PositiveDuration = default("1m")
    """How long ExternalDNS takes at most to see a change (duration); waited for where nobody can
    be asked."""

    @model_validator(mode="after")
    def _one(self) -> "ExternalDnsModel":
        if sum(map(bool, (self.endpoint, self.services, self.ingresses))) != 1:
            raise fault("exactly one of endpoint, services and ingresses is needed")
        names = self._objects()
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise fault(f"{shown(twice)} is named twice")
        return self

    def _objects(self) -> list[str]:
        return [self.endpoint] if self.endpoint else self.services or self.ingresses

    def settings(self, _: Path) -> settings.ExternalDnsSettings:
        """Return the frozen settings."""
        annotated = "services" if self.services else "ingresses"
        return settings.ExternalDnsSettings(
            namespace=self.namespace,
            resource="dnsendpoints" if self.endpoint else annotated,
            objects=tuple(self._objects()),
            zone=self.zone,
            annotation_prefix=self.annotation_prefix.rstrip("/"),
            interval_s=self.interval,
        )


class OctoDnsModel(Model):
    """A provider of octoDNS: plain records. No compare-and-set, and it reads the whole zone.

    Needs the extra rollbackd[octodns], and the provider's own package.
    """

    zone: Text
    """The zone that may be changed."""
    provider: Text
    """The provider's class, such as octodns_desec.DesecProvider."""
    arguments: dict[str, bool | int | float | Text | list[Text]] = Field(default_factory=dict)
    """What octoDNS gives to the class. env/NAME is the value of an environment variable, and
    file/PATH what a file holds; credentials are given in no other way."""
    max_records: Annotated[int, Field(ge=1, strict=True)] = 2000
    """Zones with more records are refused: each look at one record reads all of them."""

    @field_validator("provider")
    @classmethod
    def _is_a_class(cls, provider: str) -> str:
        module, _, name = provider.rpartition(".")
        if not module or not all(part.isidentifier() for part in provider.split(".")):
            raise fault(f"{shown(provider)} is no class", "such as octodns_desec.DesecProvider")
        ours = _OURS.get(module.split(".")[0])
        if ours is not None:
            raise fault(f"use {ours} instead of {name}", "it compares, and knows weights")
        return provider

    @field_validator("arguments")
    @classmethod
    def _secrets_are_elsewhere(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for name, value in arguments.items():
            elsewhere = isinstance(value, str) and value.startswith(("env/", "file/"))
            if name.lower().endswith(_CREDENTIALS) and not elsewhere:
                raise fault(f"{name} is a credential", "say env/NAME or file/PATH")
            if elsewhere and not value.partition("/")[2]:
                raise fault(f"{name} names nothing", "env/NAME or file/PATH")
        return arguments

    def settings(self, base: Path) -> settings.OctoDnsSettings:
        """Return the frozen settings."""
        arguments = {name: _argument(base, value) for name, value in self.arguments.items()}
        return settings.OctoDnsSettings(self.zone, self.provider, arguments, self.max_records)


def _argument(base: Path, value: settings.Argument) -> settings.Argument:
    """Return an argument, or where it is kept."""
    kind, _, where = value.partition("/") if isinstance(value, str) else ("", "", "")
    if kind == "env":
        return Secret(env=where)
    return Secret(file=path(base, where)) if kind == "file" else value


_OURS = {
    "octodns_route53": "route53",
    "octodns_googlecloud": "cloud_dns",
    "octodns_cloudflare": "cloudflare",
}
"""Where a backend of our own is better than the bridge, which misreads weighted records."""
_CREDENTIALS = ("token", "secret", "password", "api_key", "apikey", "access_key", "private_key")

PROVIDERS = ("rfc2136", "route53", "cloud_dns", "cloudflare", "external_dns", "octodns")
Provider = (
    Rfc2136Model | Route53Model | CloudDnsModel | CloudflareModel | ExternalDnsModel | OctoDnsModel
)


class DnsModel(Model):
    """A name and exactly one provider."""

    name: Name
    """What records call it."""
    nameservers: list[Address] = Field(default_factory=list)
    """host:port of the servers to ask after a change; default: those of the zone."""
    rfc2136: Rfc2136Model | None = None
    """BIND, Knot, PowerDNS."""
    route53: Route53Model | None = None
    """Amazon Route 53."""
    cloud_dns: CloudDnsModel | None = None
    """Google Cloud DNS."""
    cloudflare: CloudflareModel | None = None
    """Cloudflare."""
    external_dns: ExternalDnsModel | None = None
    """ExternalDNS."""
    octodns: OctoDnsModel | None = None
    """Any other provider, by octoDNS."""

    @model_validator(mode="after")
    def _one(self) -> "DnsModel":
        given = [name for name in PROVIDERS if getattr(self, name) is not None]
        if len(given) != 1:
            raise fault(f"exactly one of {', '.join(PROVIDERS)} is needed")
        return self

    @property
    def provider(self) -> Provider:
        """The one provider that is there."""
        given: Provider = next(p for p in map(self.__getattribute__, PROVIDERS) if p is not None)
        return given

    def settings(self, base: Path) -> settings.DnsSettings:
        """Return the frozen settings."""
        nameservers = tuple(host_and_port(server) for server in self.nameservers)
        return settings.DnsSettings(self.name, self.provider.settings(base), nameservers)
