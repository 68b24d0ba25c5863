"""``traces``: where traces come from."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from rollbackd.config.models.base import (
    Address,
    LabelName,
    Model,
    Text,
    default,
    host_and_port,
)
from rollbackd.config.quantities import PositiveDuration, Size, fault, shown
from rollbackd.config.trace_settings import ReceiverSettings, TraceSettings
from rollbackd.traces.labels import DEFAULT_LABELS

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


class TracesModel(Model):
    """Where traces come from, and how much of them is kept. Spans are counted, never stored."""

    receiver: ReceiverModel | None = None
    """Receive spans ourselves, best from a collector that knows pods and does not sample."""
    labels: dict[LabelName, list[Text]] = Field(default_factory=dict)
    """Labels that identify an instance, and the resource attributes each is read from, the first
    present wins; added to, or instead of, the built-in ones: namespace, pod, replicaset, instance
    and version."""
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

    def settings(self) -> TraceSettings:
        """Return the frozen settings."""
        return TraceSettings(
            labels={**DEFAULT_LABELS, **{k: tuple(v) for k, v in self.labels.items()}},
            assembly_s=self.assembly,
            retention_s=self.retention,
            max_spans=self.max_spans,
            operations=self.max_operations,
            instances=self.max_instances,
            link=self.link or "",
            receiver=None if self.receiver is None else self.receiver.settings(),
        )
