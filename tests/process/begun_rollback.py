"""A journal whose next reader has a rollback to carry out, and the cluster where it is due."""

import json

from actions.kubernetes_rollback import KubernetesRollback
from actions.plan import Plan, keyed, plan_to_json
from actions.ports import Entry
from analyzer.policy import Mode
from analyzer.rollout import Revision, Rollout, Workload
from analyzer.watch import Phase, Watch
from rollbackd.kubernetes.connection import Connection
from rollbackd.records import watch_to_json
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes.shop import replica_set

NOW = 1_800_000_000.0


def _revision(api: FakeKubeApi, image: str) -> Revision:
    found = api.wait_until(lambda api: replica_set(api, image))
    assert found is not None
    return Revision(found["metadata"]["uid"], found["metadata"]["labels"]["pod-template-hash"])


def begun_rollback(api: FakeKubeApi, connection: Connection) -> tuple[Entry, Entry]:
    """Return a plan from shop:2 back to shop:1 and its watch: decided upon, and not yet begun."""
    workload = Workload("default", "default", "Deployment", "shop")
    bad, good = _revision(api, "shop:2"), _revision(api, "shop:1")
    rollout = Rollout(workload, bad, good, (), (), ("namespace", "pod"), NOW, 2)
    steps = KubernetesRollback(connection, name="rollback").propose(rollout).steps
    plan = keyed(Plan(rollout.watch_id, workload, bad, good, steps))
    watch = Watch(
        id=rollout.watch_id, workload=workload, canary=bad, baseline=good, policy="default",
        mode=Mode.ENFORCE, started_at=NOW, since=NOW, phase=Phase.ACTING, plan_key=plan.key,
        attempts=1,
    )  # fmt: skip
    return (
        Entry(NOW, watch.id, "plan", plan.key, json.loads(json.dumps(plan_to_json(plan)))),
        Entry(NOW, watch.id, "watch", plan.key, watch_to_json(watch)),
    )
