"""Where traces come from, as the daemon sees it; all times in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollbackd.config.settings import EndpointSettings


@dataclass(frozen=True, slots=True)
class ReceiverSettings:
    """Our own OTLP/HTTP receiver. ``max_body``: bytes of a request, as sent and unpacked."""

    host: str
    port: int
    max_body: int


@dataclass(frozen=True, slots=True)
class TempoSettings:
    """A Tempo to ask. ``by``: resource attributes that identify an instance there."""

    endpoint: EndpointSettings
    services: tuple[str, ...]
    by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JaegerSettings:
    """A Jaeger to ask.

    Attributes:
        traces: how many are read of a service at once, at most.
        spm: whether it is asked how many calls there really were.
    """

    endpoint: EndpointSettings
    services: tuple[str, ...]
    traces: int
    spm: bool = True


@dataclass(frozen=True, slots=True)
class TraceSettings:
    """Where traces come from and how much of them is kept.

    Attributes:
        labels: labels that identify an instance, and the resource attributes each is read from.
        aliases: services that are versions of another one, and that one.
        assembly_s: how long spans wait for their parents and children.
        retention_s: how far back counts are remembered.
        max_spans: that may wait at once.
        operations: of a service that are told apart. instances: processes that are told apart.
        link: address of a trace for people, with ``{trace_id}`` in it; "" for none.
    """

    labels: Mapping[str, tuple[str, ...]]
    assembly_s: float
    retention_s: float
    max_spans: int
    operations: int
    instances: int
    link: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    receiver: ReceiverSettings | None = None
    tempo: TempoSettings | None = None
    jaeger: JaegerSettings | None = None

    def endpoints(self) -> dict[str, EndpointSettings]:
        """Return every server that is asked, by its key."""
        asked = {"tempo": self.tempo, "jaeger": self.jaeger}
        return {name: one.endpoint for name, one in asked.items() if one is not None}

    def address(self, trace_id: str) -> str:
        """Return where people see a trace, or ""."""
        return self.link.replace("{trace_id}", trace_id)
