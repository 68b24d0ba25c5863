"""``traces``: where traces come from."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator

from rollbackd.config.models.base import (
    Address,
    Bool,
    LabelName,
    Model,
    Text,
    Url,
    default,
    host_and_port,
)
from rollbackd.config.models.source import EndpointModel
from rollbackd.config.quantities import PositiveDuration, Size, fault, shown
from rollbackd.config.settings import EndpointSettings
from rollbackd.config.trace_settings import (
    JaegerSettings,
    ReceiverSettings,
    TempoSettings,
    TraceSettings,
)
from rollbackd.traces.labels import DEFAULT_LABELS

MOST_GROUPS = 2
Count = Annotated[int, Field(ge=1, strict=True)]


def _link(text: str) -> str:
    if not re.match(r"https?://[^/\s]", text) or "{trace_id}" not in text:
        raise fault(
            f"{shown(text)} is no address of a trace",
            "write {trace_id} where the id belongs: http://jaeger:16686/trace/{trace_id}",
        )
    if "@" in text.split("/")[2]:
        raise fault("a URL must not hold a user or a password", "links are shown to people")
    return text


class ReceiverModel(Model):
    """Our own receiver for OTLP over HTTP (POST /v1/traces), protobuf and JSON."""

    listen: Address = "127.0.0.1:4318"
    """host:port to listen on. Anybody who reaches it can send spans; 0.0.0.0 means everybody."""
    max_body: Size = default("8MiB")
    """A longer request is refused, packed or unpacked (size)."""

    def settings(self) -> ReceiverSettings:
        """Return the frozen settings."""
        return ReceiverSettings(*host_and_port(self.listen), self.max_body)


class TempoModel(EndpointModel):
    """A Grafana Tempo with TraceQL metrics: counts and durations, but no self times and calls."""

    url: Url
    """Base address, without /api, such as http://tempo:3200."""
    services: list[Text] = Field(min_length=1)
    """Names of the services to ask about."""
    by: list[Text] = default(["k8s.namespace.name", "k8s.pod.name"])
    """Resource attributes that identify an instance in Tempo, two at most."""

    @field_validator("by")
    @classmethod
    def _few(cls, by: list[str]) -> list[str]:
        bad = [key for key in by if not re.fullmatch(r"[A-Za-z_][\w.]*", key)]
        if bad:
            raise fault(f"{shown(bad[0])} cannot be an attribute", "such as k8s.pod.name")
        if not 1 <= len(by) <= MOST_GROUPS:
            raise fault("one or two attributes are needed", "Tempo groups by five at most")
        return by

    def settings(self, base: Path) -> TempoSettings:
        """Return the frozen settings."""
        endpoint = self.endpoint(base, EndpointSettings)
        return TempoSettings(endpoint, tuple(self.services), tuple(self.by))


class JaegerModel(EndpointModel):
    """A Jaeger, API v3 or v1, or a VictoriaTraces: a bounded number of traces is read and counted."""

    url: Url
    """Base address, without /api, such as http://jaeger:16686."""
    services: list[Text] = Field(min_length=1)
    """Names of the services to ask about."""
    traces: Annotated[int, Field(ge=1, le=20_000, strict=True)] = 500
    """Traces read of a service in ten seconds, at most; when there are more, that is said."""
    spm: Bool = True
    """Ask Jaeger's metrics storage, where it has one (Service Performance Monitoring), how many calls
    there were, so that it is said of how many the traces tell; never evidence."""

    def settings(self, base: Path) -> JaegerSettings:
        """Return the frozen settings."""
        endpoint = self.endpoint(base, EndpointSettings)
        return JaegerSettings(endpoint, tuple(self.services), self.traces, self.spm)


class TracesModel(Model):
    """Where traces come from, and how much of them is kept. Spans are counted, never stored."""

    receiver: ReceiverModel | None = None
    """Receive spans ourselves, best from a collector that knows pods and does not sample."""
    tempo: TempoModel | None = None
    """Ask a Tempo."""
    jaeger: JaegerModel | None = None
    """Ask a Jaeger or a VictoriaTraces."""
    labels: dict[LabelName, list[Text]] = Field(default_factory=dict)
    """Labels that identify an instance, and the resource attributes each is read from, the first
    present wins; added to, or instead of, the built-in ones: namespace, pod, replicaset, instance
    and version."""
    aliases: dict[Text, Text] = Field(default_factory=dict)
    """Services that are versions of another one, and that one, such as shop-canary: shop; their
    operations are compared as the same."""
    assembly: PositiveDuration = default("5s")
    """How long spans wait for their parents and children (duration)."""
    retention: PositiveDuration = default("30m")
    """How far back counts are remembered (duration)."""
    max_spans: Count = 1_000_000
    """Spans that may wait at once; what comes beyond is refused and may be sent again."""
    max_operations: Count = 500
    """Operations of a service that are told apart; the rest is counted as "(other)"."""
    max_instances: Count = 2_000
    """Processes that are told apart; spans of others are not counted."""
    link: Annotated[Text, AfterValidator(_link)] | None = None
    """Address of a trace for people, with {trace_id} in it (Grafana, Jaeger)."""

    @field_validator("aliases")
    @classmethod
    def _one_step(cls, aliases: dict[str, str]) -> dict[str, str]:
        twice = [name for name in aliases.values() if name in aliases]
        if twice:
            raise fault(
                f"{shown(twice[0])} is an alias and has aliases",
                "name the service that it is, once",
            )
        return aliases

    def settings(self, base: Path) -> TraceSettings:
        """Return the frozen settings."""
        return TraceSettings(
            labels={**DEFAULT_LABELS, **{k: tuple(v) for k, v in self.labels.items()}},
            assembly_s=self.assembly,
            retention_s=self.retention,
            max_spans=self.max_spans,
            operations=self.max_operations,
            instances=self.max_instances,
            link=self.link or "",
            aliases=self.aliases,
            receiver=None if self.receiver is None else self.receiver.settings(),
            tempo=None if self.tempo is None else self.tempo.settings(base),
            jaeger=None if self.jaeger is None else self.jaeger.settings(base),
        )
