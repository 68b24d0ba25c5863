"""A small HTTP fake of the Kubernetes API server, with a Deployment controller and faults.

In a test::

    with FakeKubeApi() as api:
        api.create(deployment_manifest)
        daemon = start_daemon(api.write_kubeconfig(tmp_path / "kubeconfig"))

By hand: `python -m tests.fakes.kube_api --port 8001`. It passes all checks of
`kube_api_conformance.py`, as a real kube-apiserver does; what it leaves out is in README.md.
"""

from .access import Access, User
from .cluster import ClusterSettings
from .controllers.pod_lifecycle import PodHooks
from .controllers.readiness import AskReadiness, NeverReady, ReadyAfter
from .fake import FakeKubeApi
from .faults import Fault, FaultAction
from .objects.errors import ApiError

__all__ = [
    "Access",
    "ApiError",
    "AskReadiness",
    "ClusterSettings",
    "FakeKubeApi",
    "Fault",
    "FaultAction",
    "NeverReady",
    "PodHooks",
    "ReadyAfter",
    "User",
]
