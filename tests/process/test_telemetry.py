"""The daemon's own metrics: every label value there from the start, names as Prometheus wants."""

import math
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from analyzer.judge import Verdict
from analyzer.sample import Absence
from analyzer.watch import Phase
from rollbackd.cache_telemetry import COLLECTIONS
from rollbackd.config.manifests import Limits
from rollbackd.config.models.rollouts import Kind
from rollbackd.kubernetes.cache import CacheState, Snapshot
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.credentials import ClusterAccess
from rollbackd.policies.source import PolicyResources
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from rollbackd.telemetry import (
    ACTION_OUTCOMES,
    CONCLUSIONS,
    FETCH_OUTCOMES,
    TASKS,
    TICK_OUTCOMES,
    Telemetry,
)
from tests.fakes.kube_api import FakeKubeApi

LABELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rollbackd_ticks_total": ("outcome", TICK_OUTCOMES),
    "rollbackd_fetches_total": ("outcome", FETCH_OUTCOMES),
    "rollbackd_evidence_missing_total": ("reason", tuple(a.value for a in Absence)),
    "rollbackd_judgements_total": ("verdict", tuple(v.value for v in Verdict)),
    "rollbackd_transitions_total": ("phase", tuple(p.value for p in Phase)),
    "rollbackd_plans_total": ("outcome", ("made", "refused")),
    "rollbackd_actions_total": ("outcome", ACTION_OUTCOMES),
    "rollbackd_runs_missed_total": ("task", TASKS),
    "rollbackd_watches": ("phase", tuple(p.value for p in Phase)),
}


@dataclass(frozen=True)
class Cached:
    path: str
    held: Snapshot[int]

    def snapshot(self) -> Snapshot[int]:
        return self.held


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry(version="test", environ={})
    yield made
    made.close()


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(telemetry.exposition().decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("name", LABELS)
def test_every_label_value_exists_at_zero(telemetry: Telemetry, name: str) -> None:
    label, values = LABELS[name]
    found = {labels: value for (n, labels), value in samples(telemetry).items() if n == name}
    assert found == {((label, value),): 0.0 for value in values}


def test_a_fault_and_the_last_tick_exist_at_zero(telemetry: Telemetry) -> None:
    found = samples(telemetry)
    assert found["rollbackd_watch_faults_total", ()] == 0.0
    assert found["rollbackd_last_tick_timestamp_seconds", ()] == 0.0
    assert found["rollbackd_leader", ()] == 0.0
    assert found["rollbackd_journal_failures_total", ()] == 0.0
    assert found["rollbackd_leadership_changes_total", ()] == 0.0


def test_leading_and_its_end_are_changes_of_leadership(telemetry: Telemetry) -> None:
    seen = []
    for leads in (True, True, False, True):
        telemetry.leading(leads)
        found = samples(telemetry)
        seen.append(
            (found["rollbackd_leader", ()], found["rollbackd_leadership_changes_total", ()])
        )
    assert seen == [(1.0, 1.0), (1.0, 1.0), (0.0, 2.0), (1.0, 3.0)]


def test_a_source_that_tells_no_rollouts_shows(telemetry: Telemetry) -> None:
    assert samples(telemetry)["rollbackd_rollout_source_up", ()] == 1.0
    telemetry.told_rollouts(False)
    telemetry.lacking_rights(2, 1)
    assert samples(telemetry)["rollbackd_rights_missing", (("use", "watch"),)] == 2.0
    assert samples(telemetry)["rollbackd_rights_missing", (("use", "act"),)] == 1.0
    assert samples(telemetry)["rollbackd_rollout_source_up", ()] == 0.0


def test_everything_is_counted_where_it_belongs(telemetry: Telemetry) -> None:
    telemetry.ticked(0.2, 1234.0, ok=True)
    telemetry.ticked(0.2, 1235.0, ok=False)
    telemetry.fetched("ok")
    telemetry.missed_signal(Absence.STALE)
    telemetry.judged(Verdict.DEGRADED)
    telemetry.entered(Phase.ACTING)
    telemetry.planned(refused=True)
    telemetry.acted("done")
    telemetry.missed_run("tick")
    telemetry.faulted()
    telemetry.journal_failed()
    telemetry.watching({Phase.ACTING: 3})
    found = {key: value for key, value in samples(telemetry).items() if value}
    expected = {
        ("rollbackd_ticks_total", (("outcome", "ok"),)): 1.0,
        ("rollbackd_ticks_total", (("outcome", "failed"),)): 1.0,
        ("rollbackd_fetches_total", (("outcome", "ok"),)): 1.0,
        ("rollbackd_evidence_missing_total", (("reason", "stale"),)): 1.0,
        ("rollbackd_judgements_total", (("verdict", "degraded"),)): 1.0,
        ("rollbackd_transitions_total", (("phase", "acting"),)): 1.0,
        ("rollbackd_plans_total", (("outcome", "refused"),)): 1.0,
        ("rollbackd_actions_total", (("outcome", "done"),)): 1.0,
        ("rollbackd_runs_missed_total", (("task", "tick"),)): 1.0,
        ("rollbackd_watch_faults_total", ()): 1.0,
        ("rollbackd_journal_failures_total", ()): 1.0,
        ("rollbackd_watches", (("phase", "acting"),)): 3.0,
        ("rollbackd_last_tick_timestamp_seconds", ()): 1235.0,
        ("rollbackd_rollout_source_up", ()): 1.0,
        ("rollbackd_tick_duration_seconds_count", ()): 2.0,
    }
    assert expected.items() <= found.items()
    others = {name for name, _ in found} - {name for name, _ in expected}
    assert others <= {
        "rollbackd_tick_duration_seconds_bucket",
        "rollbackd_tick_duration_seconds_sum",
    }


def test_what_is_kept_of_the_cluster_is_told(telemetry: Telemetry) -> None:
    def cache(path: str, items: int, age_s: float) -> "Cached":
        return Cached(path, Snapshot(tuple(range(items)), CacheState.SYNCED, age_s))

    telemetry.follow_caches(
        lambda: (
            cache("/api/v1/namespaces/shop/pods", 3, 1.0),
            cache("/api/v1/namespaces/cart/pods", 4, 9.0),
            cache("/apis/apps/v1/namespaces/shop/deployments", 0, math.inf),
        )
    )
    found = samples(telemetry)
    sizes = {dict(ls)["collection"]: v for (n, ls), v in found.items() if n.endswith("_objects")}
    assert sizes == dict.fromkeys(COLLECTIONS, 0.0) | {"pods": 7.0}
    ages = {
        dict(ls)["collection"]: v for (n, ls), v in found.items() if n.endswith("_age_seconds")
    }
    assert ages == {"pods": 9.0}  # one that was never heard of has no age


def test_every_collection_that_is_followed_has_its_label() -> None:
    with FakeKubeApi() as api:
        connection = Connection(ClusterAccess(server=api.url))
        reading = Reading("test", ("namespace", "pod"), 60.0, lambda _: ())
        rollouts = KubernetesRollouts(connection, reading, kinds=[kind.value for kind in Kind])
        policies = PolicyResources(connection, "test", Limits())
        kept = (*rollouts.reflectors, *policies.reflectors)
        followed = {reflector.path.rpartition("/")[2] for reflector in kept}
        rollouts.close()
        connection.close()
    assert followed == set(COLLECTIONS)


def test_jobs_in_hand_are_told(telemetry: Telemetry) -> None:
    assert samples(telemetry)["rollbackd_jobs", (("kind", "act"),)] == 0.0
    telemetry.count_jobs(lambda: {"act": 2})
    found = samples(telemetry)
    assert found["rollbackd_jobs", (("kind", "act"),)] == 2.0
    assert found["rollbackd_jobs", (("kind", "plan"),)] == 0.0


def test_histograms_are_there_at_zero_and_become_the_same_series(telemetry: Telemetry) -> None:
    def histograms() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        parts = ("tick_duration", "time_to_decision")
        return {k: v for k, v in samples(telemetry).items() if any(p in k[0] for p in parts)}

    before = histograms()
    assert set(before.values()) == {0.0}
    assert ("rollbackd_time_to_decision_seconds_count", (("phase", "degraded"),)) in before
    telemetry.concluded(Phase.DEGRADED, 100.0, None)
    partly = histograms()
    assert partly.keys() == before.keys()
    telemetry.ticked(0.2, 1.0, ok=True)
    for phase in CONCLUSIONS:
        telemetry.concluded(phase, 100.0, None)
    after = histograms()
    assert after.keys() == before.keys()
    assert after["rollbackd_time_to_decision_seconds_count", (("phase", "degraded"),)] == 2.0
    assert (
        after[
            "rollbackd_time_to_decision_seconds_bucket", (("le", "120.0"), ("phase", "degraded"))
        ]
        == 2.0
    )


def test_only_conclusions_have_a_time_to_decision(telemetry: Telemetry) -> None:
    for phase in Phase:
        telemetry.concluded(phase, 100.0, None)
    count = "rollbackd_time_to_decision_seconds_count"
    counted = {dict(ls)["phase"]: v for (n, ls), v in samples(telemetry).items() if n == count}
    assert counted == {phase.value: 1.0 for phase in CONCLUSIONS}


def test_two_daemons_in_one_process_count_for_themselves(telemetry: Telemetry) -> None:
    other = Telemetry(version="test", environ={})
    other.faulted()
    assert samples(telemetry)["rollbackd_watch_faults_total", ()] == 0.0
    other.close()


@pytest.mark.servers
def test_promtool_has_nothing_to_say(telemetry: Telemetry) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "install the Debian package prometheus"
    telemetry.ticked(0.2, 1234.0, ok=True)
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=telemetry.exposition(),
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
