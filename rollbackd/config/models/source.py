"""``source``: where samples come from."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationInfo, field_validator

from rollbackd.config import settings
from rollbackd.config.models.base import Address, Bool, Model, Text, Url, default, path, secret
from rollbackd.config.quantities import PositiveDuration, Size, fault


class BasicAuthModel(Model):
    """HTTP basic authentication; the password is in a file or an environment variable."""

    username: Text
    """User name."""
    password_file: Text | None = None
    """File that holds the password; read for each connection."""
    password_env: Text | None = None
    """Environment variable that holds the password."""

    @field_validator("password_env")
    @classmethod
    def _one_password(cls, env: str | None, info: ValidationInfo) -> str | None:
        if (env is None) == (info.data.get("password_file") is None):
            raise fault("exactly one of password_file and password_env is needed")
        return env


class TlsModel(Model):
    """TLS for https addresses."""

    ca_file: Text | None = None
    """PEM file of the authorities to trust, instead of the system's."""
    cert_file: Text | None = None
    """PEM file of our certificate, for servers that ask for one."""
    key_file: Text | None = None
    """PEM file of the certificate's private key."""
    insecure_skip_verify: Bool = False
    """Do not verify the server's certificate. Anybody in between can then feed the daemon."""

    @field_validator("key_file")
    @classmethod
    def _pair(cls, key: str | None, info: ValidationInfo) -> str | None:
        if (key is None) != (info.data.get("cert_file") is None):
            raise fault("cert_file and key_file only work together", "give both or none")
        return key

    def settings(self, base: Path) -> settings.TlsSettings:
        """Return the frozen settings."""
        return settings.TlsSettings(
            ca_file=path(base, self.ca_file),
            cert_file=path(base, self.cert_file),
            key_file=path(base, self.key_file),
            verified=not self.insecure_skip_verify,
        )


Endpoint = TypeVar("Endpoint", bound=settings.EndpointSettings)


class EndpointModel(Model):
    """A server that is asked over HTTP."""

    url: Url
    """Base address, such as http://prometheus:9090."""
    timeout: PositiveDuration = default("10s")
    """How long one query may take (duration)."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Extra HTTP headers, such as X-Scope-OrgID for Mimir."""
    bearer_token_file: Text | None = None
    """File that holds a bearer token; read for each query, so it may be replaced."""
    bearer_token_env: Text | None = None
    """Environment variable that holds a bearer token."""
    basic_auth: BasicAuthModel | None = None
    """User name and password."""
    tls: TlsModel = Field(default_factory=TlsModel)
    """TLS options for https addresses."""
    max_reply: Size = default("64MiB")
    """A longer answer is cut off and counts as missing (size)."""

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if name.lower() == "authorization":
                raise fault(
                    "the file must not hold credentials",
                    "use bearer_token_file, bearer_token_env or basic_auth",
                )
            if not name or not name.isascii() or any(c in name + value for c in "\r\n"):
                raise fault(f"{name!r} cannot be an HTTP header")
        return headers

    @field_validator("bearer_token_env")
    @classmethod
    def _one_token(cls, env: str | None, info: ValidationInfo) -> str | None:
        if env is not None and info.data.get("bearer_token_file") is not None:
            raise fault("there is bearer_token_file, too", "keep one of the two")
        return env

    @field_validator("basic_auth")
    @classmethod
    def _one_way_in(
        cls, basic: BasicAuthModel | None, info: ValidationInfo
    ) -> BasicAuthModel | None:
        token = info.data.get("bearer_token_file") or info.data.get("bearer_token_env")
        if basic is not None and token is not None:
            raise fault("there is a bearer token, too", "keep one of the two")
        return basic

    def endpoint(self, base: Path, kind: type[Endpoint]) -> Endpoint:
        """Return the frozen settings, of a kind that adds nothing."""
        basic = None
        if self.basic_auth is not None:
            user = self.basic_auth
            password = secret(base, user.password_file, user.password_env)
            basic = settings.BasicAuth(user.username, password) if password else None
        return kind(
            url=self.url,
            timeout_s=self.timeout,
            max_reply_bytes=self.max_reply,
            headers=self.headers,
            bearer_token=secret(base, self.bearer_token_file, self.bearer_token_env),
            basic_auth=basic,
            tls=self.tls.settings(base),
        )


class PrometheusModel(EndpointModel):
    """A server with the Prometheus query API: Prometheus, Thanos, Mimir, VictoriaMetrics."""

    url: Url
    """Base address, without /api/v1, such as http://prometheus:9090."""

    def settings(self, base: Path) -> settings.PrometheusSettings:
        """Return the frozen settings."""
        return self.endpoint(base, settings.PrometheusSettings)


class TargetModel(Model):
    """One address to scrape."""

    address: Address
    """host:port; http://host:port/metrics is scraped. Becomes the label ``instance``."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels added to every series of this target."""

    def settings(self) -> settings.Target:
        """Return the frozen settings."""
        return settings.Target(self.address, self.labels)


class ScrapeModel(Model):
    """The built-in scraper: no Prometheus needed."""

    interval: PositiveDuration = default("1s")
    """How often every target is scraped (duration)."""
    timeout: PositiveDuration = default("1s")
    """How long one scrape may take (duration)."""
    max_reply: Size = default("16MiB")
    """A longer page is not read to its end and counts as missing (size)."""
    targets: list[TargetModel] = Field(default_factory=list)
    """Targets that are always scraped."""
    targets_file: Text | None = None
    """File of more targets in Prometheus' file_sd format; re-read when it changes."""

    def settings(self, base: Path) -> settings.ScrapeSettings:
        """Return the frozen settings."""
        return settings.ScrapeSettings(
            interval_s=self.interval,
            timeout_s=self.timeout,
            max_reply_bytes=self.max_reply,
            targets=tuple(target.settings() for target in self.targets),
            targets_file=path(base, self.targets_file),
        )


class RecordedModel(Model):
    """Recorded data, for replays."""

    files: list[Text] = Field(min_length=1)
    """OpenMetrics text files with timestamps."""

    def settings(self, base: Path) -> settings.RecordedSettings:
        """Return the frozen settings."""
        return settings.RecordedSettings(tuple(base / Path(f).expanduser() for f in self.files))


class SourceModel(Model, json_schema_extra={"minProperties": 1, "maxProperties": 1}):
    """Exactly one of prometheus, scrape and recorded."""

    prometheus: PrometheusModel | None = None
    """Ask a Prometheus."""
    scrape: ScrapeModel | None = None
    """Scrape /metrics ourselves."""
    recorded: RecordedModel | None = None
    """Read files."""

    def settings(self, base: Path) -> settings.SourceSettings:
        """Return the frozen settings of the one source that is there."""
        for source in (self.prometheus, self.scrape, self.recorded):
            if source is not None:
                return source.settings(base)
        raise AssertionError("cross_checks.py lets exactly one source pass")
