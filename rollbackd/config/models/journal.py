"""``journal`` and ``leadership``: where the record is kept, and which replica may write it."""

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo, field_validator

from rollbackd.config import settings
from rollbackd.config.models.base import Model, Name, Text, default, secret
from rollbackd.config.quantities import PositiveDuration, fault, shown

_SQLITE = "sqlite:///"
_HINT = "write sqlite:///path/to/file, or use dsn_env or dsn_file for PostgreSQL"


def _journal_url(url: str) -> str:
    if not url.startswith(_SQLITE):
        backend = re.match(r"[\w+]+(?=:)", url)
        # What it says is not repeated: an address of a server may hold a password.
        what = f"{backend[0]} is not supported here" if backend else f"{shown(url)} is not a URL"
        raise fault(what, _HINT)
    if url.removeprefix(_SQLITE) in {"", ":memory:"} or "?" in url:
        raise fault(f"{shown(url)} names no file", "write sqlite:///path/to/file")
    return url


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise fault(f"{shown(url)} is no address of a web server", "such as http://10.42.0.7:9469")
    return url


class JournalModel(Model):
    """The record of what was decided and done; a restart goes on from it.

    An SQLite file (url) has one writer: one replica. PostgreSQL (dsn_env or dsn_file) is for two
    or more, of which one leads.
    """

    url: Annotated[Text, AfterValidator(_journal_url)] | None = None
    """sqlite:/// and a file name, on a local disk that survives a restart; default without a dsn:
    sqlite:///rollbackd.db."""
    dsn_file: Text | None = None
    """File with the address of a PostgreSQL database: postgresql://user:password@host/database,
    with %-escapes in user and password."""
    dsn_env: Text | None = None
    """Environment variable with that address. It is a secret, so it cannot stand here itself."""

    @field_validator("dsn_file", "dsn_env")
    @classmethod
    def _one_place(cls, given: str | None, info: ValidationInfo) -> str | None:
        others = [key for key in ("url", "dsn_file") if info.data.get(key) is not None]
        if given is not None and others:
            raise fault(f"there is {others[0]}, too", "keep one place for the journal")
        return given

    def settings(self, base: Path) -> settings.JournalSettings:
        """Return the frozen settings, with an absolute file name."""
        dsn = secret(base, self.dsn_file, self.dsn_env)
        if dsn is not None:
            return settings.JournalSettings(dsn=dsn)
        name = (self.url or f"{_SQLITE}rollbackd.db").removeprefix(_SQLITE)
        return settings.JournalSettings(f"{_SQLITE}{(base / Path(name).expanduser()).absolute()}")


class LeadershipModel(Model):
    """Which of several replicas acts. All of them must have the same journal, in PostgreSQL.

    The leader shows a sign of life in a lease, and the others take over when it stops. With
    lease_namespace, the lease is a Kubernetes Lease; without, a row beside the journal.
    """

    lease_namespace: Name | None = None
    """Namespace of the Kubernetes Lease; default: no Kubernetes Lease, a row in PostgreSQL."""
    lease_name: Name = "rollbackd"
    """Name of the lease; installations that share a namespace need different ones. A database is
    for one installation: its journal has one writer."""
    duration: PositiveDuration = default("15s")
    """Without a sign of life for so long, another replica takes over (duration)."""
    renew_by: PositiveDuration = default("10s")
    """A leader that cannot renew for so long stops acting (duration); less than duration."""
    retry: PositiveDuration = default("2s")
    """Between two signs of life, or two looks of the others (duration); less than renew_by."""

    address: Annotated[str, AfterValidator(_http_url)] | None = None
    """How other replicas reach this one's HTTP server, such as http://10.42.0.7:9469: they pass on
    what people decide when this one leads. Default: they say who leads, and people go there."""
    address_env: Text | None = None
    """Environment variable with that address; while it is not set, there is none."""

    @field_validator("address_env")
    @classmethod
    def _one_address(cls, env: str | None, info: ValidationInfo) -> str | None:
        if env is not None and info.data.get("address") is not None:
            raise fault("there is address, too", "keep one of the two")
        return env

    @field_validator("renew_by", "retry")
    @classmethod
    def _in_order(cls, value: float, info: ValidationInfo) -> float:
        longer = {"renew_by": "duration", "retry": "renew_by"}[str(info.field_name)]
        bound: float | None = info.data.get(longer)
        if bound is not None and value >= bound:
            raise fault(
                f"{info.field_name} is not less than {longer}",
                "such as duration: 15s, renew_by: 10s, retry: 2s",
            )
        return value

    def settings(self) -> settings.LeadershipSettings:
        """Return the frozen settings."""
        return settings.LeadershipSettings(
            namespace=self.lease_namespace,
            name=self.lease_name,
            duration_s=self.duration,
            renew_by_s=self.renew_by,
            retry_s=self.retry,
            address=(self.address or os.environ.get(self.address_env or "", "")).rstrip("/"),
        )
