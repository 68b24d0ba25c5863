import pytest

from tests.helm.golden_files import options
from tests.helm.helm_program import Helm

pytestmark = pytest.mark.servers


def test_by_default_it_says_that_it_changes_nothing(helm4: Helm) -> None:
    notes = helm4.notes()
    assert "Deployments, StatefulSets, DaemonSets of the whole cluster" in notes
    assert "default (observe): says what it would do; does nothing." in notes
    assert "to read Deployments, StatefulSets, DaemonSets, their revisions and pods;" in notes
    assert "ATTENTION" not in notes


def test_when_it_may_act_it_says_where(helm4: Helm) -> None:
    notes = helm4.notes(*options("enforce-namespaced"))
    assert "Deployments, StatefulSets, DaemonSets, Canaries in shop, pay" in notes
    assert "checkout (enforce): carries out rollback at once." in notes
    assert "others (observe)" in notes
    assert (
        "act in other namespaces than shop: it may patch Deployments, StatefulSets, DaemonSets there"
        in notes
    )


def test_every_right_to_change_something_is_named(helm4: Helm) -> None:
    notes = helm4.notes(*options("everything"))
    wanted = "it may patch Deployments, StatefulSets, DaemonSets there, delete pods that are stuck"
    assert wanted in notes
    kinds = "config.rollouts.kubernetes.kinds={Deployment,Rollout,Canary}"
    flagger = helm4.notes(*options("everything"), "--set", kinds)
    assert "Deployments, Rollouts, Canaries of the whole cluster" in flagger
    assert "it may patch Deployments, Rollouts there" in flagger  # Flagger's are only read


def test_observing_with_events_writes_events_and_says_so(helm4: Helm) -> None:
    events = "config.rollouts.kubernetes.events=true"
    assert "and to write Events" in helm4.notes("--set", events)


def test_approve_without_a_token_is_pointed_out(helm4: Helm) -> None:
    case = options("approve-cluster")
    assert "ATTENTION" not in helm4.notes(*case)
    warned = helm4.notes(*case, "--set", "secrets.decisionToken.name=")
    assert "nobody can approve the plans of policy default" in warned


def test_a_journal_that_goes_with_the_pod_is_pointed_out(helm4: Helm) -> None:
    assert "the journal is lost with the pod" in helm4.notes(*options("static-scrape"))
