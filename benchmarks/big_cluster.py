"""What a big cluster costs: memory of the caches, time to fill them, and lists while watching.

``python -m benchmarks.big_cluster [--deployments 1000] [--pods-each 5] [--seconds 60] [--json FILE]``

The in-repo fake API server runs as a process of its own and holds Deployments, ReplicaSets and pods
as large as real ones (managed fields, environment, volumes: about 9 KB a pod). The daemon's own
rollout source follows it in a second process, which looks at its rollouts once a second like a
tick; its resident memory is compared with what it was before the first list. Meanwhile the pods'
statuses change all the time, and the watches end and begin anew every few seconds. The fake's log
tells whether anything was listed a second time.
"""

import argparse
import asyncio
import itertools
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import structlog
from rich.console import Console
from rich.table import Table

GOAL_MB = 80.0
NAMESPACE = "shop"
CHANGES_S = 50
"""Changes of pods in a second: each pod of 5,000 reports something every 100 s."""
WATCH_S = 10.0
"""A watch is ended after this and begun anew, six times as often as in production."""
STARTED = "2026-11-01T08:00:00Z"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured; memory in MB of 10^6 bytes, times in seconds.

    Attributes:
        synced_s: until every cache was filled. growth_mb: when they were filled.
        peak_mb: the most there ever was, above the start. end_mb: growth at the end.
        look_ms: median time of one look at all rollouts, milliseconds.
        lists: lists by resource, without their further pages. watches: opened.
    """

    deployments: int
    pods: int
    seconds: float
    synced_s: float
    growth_mb: float
    peak_mb: float
    end_mb: float
    look_ms: float
    lists: dict[str, int]
    watches: int


def main() -> None:
    """Run one of the three processes; without ``--part``, the one that starts the others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deployments", type=int, default=1000)
    parser.add_argument("--pods-each", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=["serve", "follow"], help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.part:
        case "serve":
            asyncio.run(_serve(options.deployments, options.pods_each))
        case "follow":
            print(json.dumps(_follow(options.url, options.seconds)))
        case _:
            _report(_measured(options.deployments, options.pods_each, options.seconds), options)


# The cluster


async def _serve(deployments: int, pods_each: int) -> None:
    """Serve a steady cluster without controllers, whose pods report something all the time."""
    from tests.fakes.kube_api.cluster import Cluster, ClusterSettings  # noqa: PLC0415
    from tests.fakes.kube_api.objects.kinds import (  # noqa: PLC0415
        DEPLOYMENTS,
        PODS,
        REPLICA_SETS,
    )
    from tests.fakes.kube_api.objects.metadata import ObjectName  # noqa: PLC0415
    from tests.fakes.kube_api.serving.server import serving  # noqa: PLC0415

    class SteadyCluster(Cluster):
        """Nothing happens in it but what is written."""

        async def start(self) -> None:
            """Leave the controllers out: a thousand Deployments keep them busy for minutes."""

    cluster = SteadyCluster(ClusterSettings())
    uids = (f"00000000-0000-4000-8000-{n:012d}" for n in itertools.count(1))
    pods: list[ObjectName] = []
    for n in range(deployments):
        owner, owned = next(uids), next(uids)
        name, hashed = f"service-{n:04d}", f"{n:08x}"
        for kind, made in (
            (DEPLOYMENTS, _deployment(name, owner, pods_each)),
            (REPLICA_SETS, _replica_set(name, hashed, owner, owned, pods_each)),
        ):
            at = ObjectName(NAMESPACE, made["metadata"]["name"])
            cluster.store.write(kind.storage, at, made)
        for k in range(pods_each):
            made = _pod(f"{name}-{hashed}-{k:05d}", hashed, name, owned, next(uids))
            pods.append(ObjectName(NAMESPACE, made["metadata"]["name"]))
            cluster.store.write(PODS.storage, pods[-1], made)
    async with serving(cluster, 0) as url:
        print(url, flush=True)
        for n in itertools.count():
            at = pods[n % len(pods)]
            if (pod := cluster.store.get(PODS.storage, at)) is not None:
                beat = {**pod["status"], "beat": n}
                cluster.store.write(PODS.storage, at, {**pod, "status": beat})
            await asyncio.sleep(1.0 / CHANGES_S)


def _metadata(name: str, uid: str, app: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    fields: dict[str, Any] = {f"f:field-{n}": {"f:inner": {}, "f:other": {}} for n in range(60)}
    managed = {"manager": "kube-controller-manager", "operation": "Update", "time": STARTED}
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": uid,
        "generation": 1,
        "creationTimestamp": STARTED,
        "labels": {"app": app, "team": "shop", **more.pop("labels", {})},
        "annotations": {"deployment.kubernetes.io/revision": "1"},
        "managedFields": [{**managed, "fieldsType": "FieldsV1", "fieldsV1": fields}],
        **more,
    }


def _template(app: str, hashed: str = "") -> dict[str, Any]:
    labels = {"app": app} | ({"pod-template-hash": hashed} if hashed else {})
    return {"metadata": {"labels": labels}, "spec": _pod_spec(app)}


def _pod_spec(app: str) -> dict[str, Any]:
    env = [{"name": f"SETTING_{n}", "value": f"value-{n}-of-{app}"} for n in range(40)]
    mounts = [{"name": f"volume-{n}", "mountPath": f"/var/lib/{n}"} for n in range(10)]
    return {
        "containers": [{"name": "app", "image": f"{app}:1", "env": env, "volumeMounts": mounts}],
        "volumes": [
            {"name": f"volume-{n}", "configMap": {"name": f"{app}-{n}"}} for n in range(10)
        ],
    }


def _deployment(name: str, uid: str, replicas: int) -> dict[str, Any]:
    counts = dict.fromkeys(
        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name, uid, name),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": _template(name),
        },
        "status": {"observedGeneration": 1, **counts},
    }


def _owner(kind: str, name: str, uid: str) -> list[dict[str, Any]]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}]


def _replica_set(name: str, hashed: str, owner: str, uid: str, replicas: int) -> dict[str, Any]:
    labels = {"pod-template-hash": hashed}
    owners = _owner("Deployment", name, owner)
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": _metadata(
            f"{name}-{hashed}", uid, name, labels=labels, ownerReferences=owners
        ),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name, **labels}},
            "template": _template(name, hashed),
        },
        "status": {"replicas": replicas, "readyReplicas": replicas},
    }


def _pod(name: str, hashed: str, app: str, owner: str, uid: str) -> dict[str, Any]:
    labels = {"pod-template-hash": hashed}
    owners = _owner("ReplicaSet", f"{app}-{hashed}", owner)
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": STARTED}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name, uid, app, labels=labels, ownerReferences=owners),
        "spec": _pod_spec(app),
        "status": {
            "phase": "Running",
            "startTime": STARTED,
            "conditions": conditions,
            "containerStatuses": [{"name": "app", "ready": True, "restartCount": 0}],
        },
    }


# The follower


def _follow(url: str, seconds: float) -> dict[str, float]:
    """Follow the cluster and look at its rollouts once a second; return memory and times."""
    from rollbackd.kubernetes.connection import Connection  # noqa: PLC0415 - measured, too
    from rollbackd.kubernetes.credentials import ClusterAccess  # noqa: PLC0415
    from rollbackd.kubernetes.reflector import Pace  # noqa: PLC0415
    from rollbackd.rollouts.derivation import Reading  # noqa: PLC0415
    from rollbackd.rollouts.kubernetes import KubernetesRollouts  # noqa: PLC0415

    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    connection = Connection(ClusterAccess(server=url, timeout_s=60.0))
    connection.request("GET", "/version")  # the client library is loaded with the first call
    reading = Reading(
        cluster="big", id_labels=("namespace", "pod"), follow_for_s=600.0, known_good=lambda _: ()
    )
    before = _resident_mb()
    began = time.monotonic()
    pace = Pace(watch_s=WATCH_S, stale_s=90.0)
    rollouts = KubernetesRollouts(connection, reading, pace=pace)
    rollouts.start()
    if not rollouts.wait_synced(300.0):
        raise SystemExit("the caches were not filled in 300 s")
    synced_s, synced_mb = time.monotonic() - began, _resident_mb()
    looks = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        looked = time.monotonic()
        rollouts.rollouts()
        looks.append(time.monotonic() - looked)
        time.sleep(1.0)
    at_end = _resident_mb()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    rollouts.close()
    connection.close()
    return {
        "synced_s": synced_s,
        "growth_mb": synced_mb - before,
        "peak_mb": peak - before,
        "end_mb": at_end - before,
        "look_ms": sorted(looks)[len(looks) // 2] * 1e3,
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


# The figures


def _measured(deployments: int, pods_each: int, seconds: float) -> Figures:
    command = [sys.executable, "-m", "benchmarks.big_cluster", "--part"]
    size = ["--deployments", str(deployments), "--pods-each", str(pods_each)]
    with subprocess.Popen([*command, "serve", *size], stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            follow = [*command, "follow", "--url", url, "--seconds", str(seconds)]
            done = subprocess.run(follow, stdout=subprocess.PIPE, text=True, check=True)
            with urlopen(f"{url}/_fake/requests") as answer:  # noqa: S310 - the URL is our own
                requests = json.load(answer)
        finally:
            server.terminate()
    lists: dict[str, int] = {}
    for request in requests:
        if request["verb"] == "list" and "continue" not in request["query"]:
            resource_name = request["path"].rpartition("/")[2]
            lists[resource_name] = lists.get(resource_name, 0) + 1
    watches = sum(request["verb"] == "watch" for request in requests)
    figures = json.loads(done.stdout)
    return Figures(
        deployments, deployments * pods_each, seconds, lists=lists, watches=watches, **figures
    )


def _report(figures: Figures, options: argparse.Namespace) -> None:
    table = Table(title=f"{figures.deployments:,} Deployments, {figures.pods:,} pods")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("goal", justify="right")
    relisted = {name: n - 1 for name, n in figures.lists.items() if n > 1}
    rows = (
        ("until the caches are filled", f"{figures.synced_s:.1f} s", ""),
        ("memory when they are filled", f"+{figures.growth_mb:.0f} MB", f"+{GOAL_MB:.0f} MB"),
        ("memory at most", f"+{figures.peak_mb:.0f} MB", f"+{GOAL_MB:.0f} MB"),
        (f"memory after {figures.seconds:.0f} s", f"+{figures.end_mb:.0f} MB", ""),
        ("a look at all rollouts", f"{figures.look_ms:.0f} ms", ""),
        (f"lists again, over {figures.watches} watches", str(relisted or "none"), "none"),
    )
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
