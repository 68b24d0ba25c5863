"""Which API server to talk to, and as whom."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from actions.ports import Permanent

if TYPE_CHECKING:
    from kubernetes.client import Configuration


CONNECTIONS = 64
"""Idle connections kept; more are opened when needed, and closed after use."""


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """Which API server to talk to, and as whom.

    When nothing is said, the first of these that is there is used: the files named by
    ``$KUBECONFIG``, the service account of the pod we run in, ``~/.kube/config``.

    Attributes:
        server: base URL to call without credentials (``kubectl proxy``, a test server).
        kubeconfig: path of a kubeconfig file.
        context: name of a context in the kubeconfig; None for its current one.
        in_cluster: use the pod's service account (True) or a kubeconfig (False), whatever is there.
        timeout_s: seconds allowed for connecting, and again for each piece of an answer.
    """

    server: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    in_cluster: bool | None = None
    timeout_s: float = 15.0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        has_kubeconfig = self.kubeconfig is not None or self.context is not None
        if sum([self.server is not None, has_kubeconfig, bool(self.in_cluster)]) > 1:
            raise ValueError("give one of server, kubeconfig (with its context) and in_cluster")
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s must be > 0, not {self.timeout_s}")


def configuration(access: ClusterAccess) -> "Configuration":
    """Return the client library's configuration for this access.

    Raises:
        Permanent: there is no usable configuration; the message says what was missing.
    """
    import yaml  # noqa: PLC0415  only pay for the client library when a cluster is used
    from kubernetes import client, config  # noqa: PLC0415

    made = client.Configuration()
    try:
        if access.server is not None:
            made.host = access.server.rstrip("/")
        elif _is_in_cluster(access):
            config.load_incluster_config(made)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                # The library reads the variable when it is imported, not when it is used.
                config_file=str(access.kubeconfig or os.environ.get("KUBECONFIG") or "") or None,
                context=access.context,
                client_configuration=made,
                # Rewriting the user's file with refreshed tokens is not ours to do.
                persist_config=False,
            )
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        source = access.kubeconfig or "the pod's service account or the default kubeconfig"
        raise Permanent(f"no access to the cluster from {source}: {error}") from error
    # Retrying lives with the callers, which know what may be repeated.
    made.retries = False
    # A watch whose peer vanished must be noticed even when no event is due.
    made.keep_alive = True
    # Each watch holds one, and so do the calls beside them.
    made.connection_pool_maxsize = CONNECTIONS
    return made


def _is_in_cluster(access: ClusterAccess) -> bool:
    if access.in_cluster is not None:
        return access.in_cluster
    has_kubeconfig = (
        access.kubeconfig is not None or access.context is not None or "KUBECONFIG" in os.environ
    )
    return not has_kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ
