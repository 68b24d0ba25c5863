"""How the process that sent a span is known by the labels that rollouts use."""

from collections.abc import Mapping

DEFAULT_LABELS: Mapping[str, tuple[str, ...]] = {
    "namespace": ("k8s.namespace.name", "service.namespace"),
    "pod": ("k8s.pod.name",),
    "replicaset": ("k8s.replicaset.name",),
    "instance": ("service.instance.id", "host.name"),
    "version": ("service.version",),
}
"""Labels that identify an instance or a revision, and the resource attributes they are read from."""
