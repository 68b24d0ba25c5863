"""What the cluster says of instances: what counts against the canary, and what never does."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.distress import SPARED, Distress, Facts, Standing, weigh
from analyzer.evidence import Measured
from analyzer.judge import Judgement, Verdict, judge
from analyzer.policy import FactUse, Policy
from analyzer.rollout import Instance, Revision, Rollout, Side, Vitals, Workload
from tests.analyzer.strategies import evidence_of, policies
from tests.analyzer.test_judge import BAD, FINE

NOW = 1_000_000.0
TICK_S = 10.0
POLICY = Policy("p", ())
WELL = Vitals()
CRASHING = Vitals("CrashLoopBackOff", 4, "Error", NOW - 80.0)
ROLLOUT = Rollout(
    workload=Workload("test", "team", "Deployment", "shop"),
    canary=Revision("v2", "v2"),
    baseline=Revision("v1", "v1"),
    canary_instances=(),
    baseline_instances=(),
    id_labels=("pod",),
    started_at=NOW - 100.0,
)


def pods(side: str, *vitals: Vitals | None, terminating: bool = False) -> tuple[Instance, ...]:
    return tuple(
        Instance(
            (f"{side}-{number}",),
            NOW - 100.0,
            ready=v is None or (not v.stuck and v.unready_since is None),
            terminating=terminating,
            vitals=v,
        )
        for number, v in enumerate(vitals)
    )


def rollout(canary: tuple[Instance, ...], baseline: tuple[Instance, ...]) -> Rollout:
    return replace(ROLLOUT, canary_instances=canary, baseline_instances=baseline)


def watched(
    at: Callable[[float], Rollout], seconds: float = 120.0, before: Distress | None = None
) -> Distress:
    """Look at what there is every tick for so long."""
    distress = before or Distress()
    for tick in range(int(seconds / TICK_S) + 1):
        distress = distress.observe(at(tick * TICK_S), NOW + tick * TICK_S)
    return distress


def facts(seen: Rollout, seconds: float = 120.0) -> Facts:
    return weigh(watched(lambda _: seen, seconds), POLICY)


# What is the canary's own


def test_a_crash_loop_of_the_canary_alone_decides_and_says_so_with_numbers() -> None:
    seen = rollout(pods("c", *[CRASHING] * 3), pods("b", *[WELL] * 10))
    found = facts(seen, 80.0)
    assert found.standing is Standing.ACCUSED
    assert found.text == (
        "3 of 3 canary pods in CrashLoopBackOff for 1 min 20 s (up to 4 restarts); "
        "0 of 10 baseline pods"
    )


def test_it_must_last() -> None:
    seen = rollout(pods("c", CRASHING), pods("b", WELL, WELL))
    assert facts(seen, 50.0).standing is Standing.SUSPECTED
    assert "decides when it has lasted 1 min" in facts(seen, 50.0).text
    assert facts(seen, 60.0).standing is Standing.ACCUSED


def test_time_without_a_look_does_not_count_as_a_course_of_things() -> None:
    seen = rollout(pods("c", CRASHING), pods("b", WELL))
    distress = Distress().observe(seen, NOW).observe(seen, NOW + 3600.0)
    assert weigh(distress, POLICY).standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    ("vitals", "text"),
    [
        (Vitals(stuck="ImagePullBackOff"), "in ImagePullBackOff"),
        (Vitals("CrashLoopBackOff", 3, "OOMKilled", NOW), "in CrashLoopBackOff (OOMKilled)"),
        (Vitals("", 2, "OOMKilled", NOW), "restarting again and again (OOMKilled)"),
        (Vitals("", 0, "", NOW - 590.0), "not ready in time"),
    ],
)
def test_each_kind_of_distress_has_its_words(vitals: Vitals, text: str) -> None:
    found = facts(rollout(pods("c", vitals), pods("b", WELL)))
    assert found.standing is Standing.ACCUSED
    assert f"1 of 1 canary pods {text}" in found.text


def test_a_rollout_that_stands_still_makes_unready_pods_distressed() -> None:
    unready = Vitals(unready_since=NOW - 30.0)
    seen = rollout(pods("c", unready), pods("b", WELL, WELL))
    assert facts(seen).standing is Standing.QUIET
    stalled = replace(seen, stalled="ProgressDeadlineExceeded")
    assert facts(stalled).standing is Standing.ACCUSED
    assert "ProgressDeadlineExceeded" in facts(stalled).text


def test_a_rollout_that_stands_still_for_want_of_pods_blames_nobody() -> None:
    """A quota, a full cluster: the canary's pods are not there, or no node has taken them."""
    for canary in ((), pods("c", None, None)):
        stalled = replace(rollout(canary, pods("b", WELL)), stalled="ProgressDeadlineExceeded")
        found = facts(stalled, 3600.0)
        assert found.standing is Standing.SUSPECTED
        assert "no canary pod is to blame" in found.text


def test_memory_kills_between_which_it_is_ready_add_up() -> None:
    def at(after_s: float) -> Rollout:
        kills = int(after_s // 100.0)
        last = Vitals(restarts=kills, last_exit="OOMKilled" if kills else "")
        return rollout(pods("c", last), pods("b", WELL))

    assert weigh(watched(at, 190.0), POLICY).standing is Standing.QUIET
    found = weigh(watched(at, 260.0), POLICY)
    assert found.standing is Standing.ACCUSED
    assert "restarting again and again (OOMKilled)" in found.text


def test_readiness_that_comes_and_goes_adds_up() -> None:
    def at(after_s: float) -> Rollout:
        lost = int(after_s // 60.0) % 2 == 1
        flapping = Vitals(unready_since=NOW + after_s if lost else None)
        return rollout(pods("c", flapping), pods("b", WELL))

    assert weigh(watched(at, 290.0), POLICY).standing is Standing.QUIET
    assert "losing readiness again and again" in weigh(watched(at, 400.0), POLICY).text


# What is not


def test_one_restart_or_one_memory_kill_is_nothing() -> None:
    def at(after_s: float) -> Rollout:
        killed = after_s >= 50.0
        vitals = Vitals("", int(killed), "OOMKilled" * killed, NOW if after_s == 50.0 else None)
        return rollout(pods("c", vitals), pods("b", WELL))

    assert weigh(watched(at, 600.0), POLICY).standing is Standing.QUIET


def test_restarts_while_starting_are_forgotten_once_it_is_ready() -> None:
    """Some services crash until what they need is there."""

    def at(after_s: float) -> Rollout:
        vitals = CRASHING if after_s < 50.0 else Vitals(restarts=4, last_exit="Error")
        return rollout(pods("c", vitals), pods("b", WELL))

    assert weigh(watched(at, 600.0), POLICY) == Facts()


def test_one_pod_of_three_may_be_on_a_bad_node() -> None:
    seen = rollout(pods("c", CRASHING, WELL, WELL), pods("b", WELL))
    assert facts(seen, 3600.0).standing is Standing.SUSPECTED


def test_a_baseline_that_is_not_ready_either_acquits_nobody() -> None:
    """A dependency is down: the old pods go unready, the new ones cannot even start."""
    unready = Vitals(unready_since=NOW)
    seen = rollout(pods("c", CRASHING), pods("b", unready, unready))
    found = facts(seen, 300.0)
    assert found.standing is Standing.SUSPECTED
    assert "0 of 2 baseline pods, and 2 more are not ready" in found.text


def test_a_crash_loop_of_both_sides_is_shared() -> None:
    seen = rollout(pods("c", CRASHING, CRASHING), pods("b", CRASHING, WELL))
    assert facts(seen, 30.0).standing is Standing.SUSPECTED
    found = facts(seen)
    assert found.standing is Standing.SHARED
    assert found.text.endswith("; 1 of 2 baseline pods: not the canary's fault alone")


def test_pods_on_their_way_out_do_not_count() -> None:
    seen = rollout(pods("c", *[CRASHING] * 3, terminating=True), pods("b", WELL))
    assert facts(seen) == Facts()


# No baseline left


def test_a_canary_that_never_ran_in_place_of_a_baseline_that_did() -> None:
    """A workload that is replaced at once: its baseline is only seen on its way out."""
    gone = pods("b", Vitals(unready_since=NOW), terminating=True)
    first = Distress().observe(rollout(pods("c", CRASHING), gone), NOW)
    alone = rollout(pods("c", CRASHING), ())
    assert weigh(watched(lambda _: alone, 120.0, first), POLICY).standing is Standing.SUSPECTED
    found = weigh(watched(lambda _: alone, 180.0, first), POLICY)
    assert found.standing is Standing.ACCUSED
    assert found.text.endswith("; the baseline was well while it ran")


def test_a_canary_that_had_taken_over_is_not_blamed_with_nothing_to_compare() -> None:
    before = watched(lambda _: rollout(pods("c", WELL), pods("b", WELL)))
    later = watched(lambda _: rollout(pods("c", CRASHING), ()), 3600.0, before)
    assert weigh(later, POLICY).standing is Standing.SUSPECTED


def test_a_canary_without_anything_known_of_the_baseline_is_not_blamed() -> None:
    found = facts(rollout(pods("c", CRASHING), ()), 3600.0)
    assert found.standing is Standing.SUSPECTED
    assert "no baseline pod is there to compare with" in found.text


# After an action


def test_a_restored_baseline_has_recovered_when_all_of_it_has_been_well() -> None:
    distress = watched(lambda _: rollout(pods("c", CRASHING), pods("b", WELL)))
    acted_at = distress.at
    for tick in range(3):
        distress = distress.restored(pods("b", WELL, WELL), acted_at + tick * TICK_S)
    assert distress.recovered(acted_at, 30.0)[0] is None
    distress = distress.restored(pods("b", WELL, WELL), acted_at + 30.0)
    assert distress.recovered(acted_at, 30.0) == (
        True,
        "2 of 2 baseline pods are well; the canary never had traffic to compare",
    )
    ill = distress.restored(pods("b", WELL, None), acted_at + 40.0)
    assert ill.recovered(acted_at, 30.0) == (None, "1 of 2 baseline pods are well")


# Properties

vitals = st.builds(
    Vitals,
    stuck=st.sampled_from(["", "", "CrashLoopBackOff", "ErrImagePull"]),
    restarts=st.integers(0, 5),
    last_exit=st.sampled_from(["", "OOMKilled", "Error"]),
    unready_since=st.none() | st.floats(NOW - 2000.0, NOW),
)


said = st.none() | vitals


@st.composite
def instances(
    draw: st.DrawFn, side: str, known: st.SearchStrategy[Vitals | None]
) -> tuple[Instance, ...]:
    found = pods(side, *draw(st.lists(known, max_size=5)))
    return tuple(
        replace(i, terminating=draw(st.booleans()), ready=draw(st.booleans())) for i in found
    )


@st.composite
def courses(
    draw: st.DrawFn,
    canary: st.SearchStrategy[Vitals | None] = said,
) -> list[Rollout]:
    """A few different looks, each of which lasts."""
    looks = draw(st.lists(st.tuples(instances("c", canary), instances("b", said)), max_size=3))
    stalled = draw(st.sampled_from(["", "ProgressDeadlineExceeded"]))
    return [replace(rollout(*look), stalled=stalled) for look in looks for _ in range(20)]


def after(looks: list[Rollout]) -> Distress:
    distress = Distress()
    for tick, seen in enumerate(looks):
        distress = distress.observe(seen, NOW + tick * TICK_S)
    return distress


@given(courses(canary=st.none()))
def test_what_nobody_says_is_never_distress(looks: list[Rollout]) -> None:
    found = weigh(after(looks), POLICY)
    assert found.standing in {Standing.QUIET, Standing.SUSPECTED}
    assert after(looks).canary.distressed == 0


@given(courses())
def test_pods_on_their_way_out_never_accuse(looks: list[Rollout]) -> None:
    leaving = [
        replace(
            seen,
            canary_instances=tuple(replace(i, terminating=True) for i in seen.canary_instances),
        )
        for seen in looks
    ]
    assert weigh(after(leaving), POLICY).standing in {Standing.QUIET, Standing.SUSPECTED}


@given(courses())
def test_an_accusation_needs_most_of_the_canary_and_a_baseline_that_is_well(
    looks: list[Rollout],
) -> None:
    distress = after(looks)
    if weigh(distress, POLICY).standing is Standing.ACCUSED:
        assert distress.canary.distressed >= 0.5 * distress.canary.present > 0
        assert distress.baseline.unwell <= SPARED * distress.baseline.present


@given(courses(), vitals)
def test_the_same_on_both_sides_never_blames_the_canary(
    looks: list[Rollout], alike: Vitals
) -> None:
    both = [
        replace(
            seen,
            canary_instances=pods("c", *[alike] * max(1, len(seen.canary_instances))),
            baseline_instances=pods("b", *[alike] * max(1, len(seen.baseline_instances))),
            stalled="",
        )
        for seen in looks
    ]
    assert weigh(after(both), POLICY).standing is not Standing.ACCUSED


@given(courses())
def test_a_baseline_that_nobody_speaks_of_never_makes_a_case(looks: list[Rollout]) -> None:
    """Taking away what is known can only weaken a case against the canary."""
    for side in Side:
        fewer = [
            replace(
                seen,
                canary_instances=_silent(seen, Side.CANARY, side),
                baseline_instances=_silent(seen, Side.BASELINE, side),
            )
            for seen in looks
        ]
        if weigh(after(fewer), POLICY).standing is Standing.ACCUSED:
            assert weigh(after(looks), POLICY).standing is Standing.ACCUSED


def _silent(seen: Rollout, side: Side, silenced: Side) -> tuple[Instance, ...]:
    """Return the instances of a side, of which nobody speaks when it is the silenced one."""
    found = seen.instances(side)
    return tuple(replace(i, vitals=None) for i in found) if side is silenced else found


# What the judge makes of it

ACCUSED = Facts(Standing.ACCUSED, "3 of 3 canary pods in CrashLoopBackOff", warm=0)
ALL_FINE = {"errors": Measured(FINE), "latency": Measured(FINE)}


def judged(found: Facts, use: FactUse = FactUse.ACT, **changes: object) -> Judgement:
    from tests.analyzer.test_judge import POLICY as SIGNALS

    evidence = {**ALL_FINE, **changes}
    return judge(replace(SIGNALS, facts=use), evidence, found)  # type: ignore[arg-type]


def test_facts_decide_without_any_signal() -> None:
    judgement = judge(replace(POLICY, signals=()), {}, ACCUSED)
    assert (judgement.verdict, judgement.by_facts) == (Verdict.DEGRADED, True)
    assert judgement.reasons[0].text == ACCUSED.text


def test_the_policy_says_what_facts_may_cause() -> None:
    assert judged(ACCUSED).verdict is Verdict.DEGRADED
    shown = judged(ACCUSED, FactUse.SHOW)
    assert (shown.verdict, shown.by_facts) == (Verdict.INCONCLUSIVE, False)
    assert shown.reasons[0].text == ACCUSED.text
    ignored = judged(replace(ACCUSED, warm=2), FactUse.IGNORE)
    assert ignored.verdict is Verdict.HEALTHY
    assert ACCUSED.text not in {reason.text for reason in ignored.reasons}


def test_suspicion_keeps_a_rollout_from_being_called_healthy() -> None:
    assert judged(Facts(Standing.SUSPECTED, "1 of 2", warm=1)).verdict is Verdict.INCONCLUSIVE
    assert judged(Facts(warm=1)).verdict is Verdict.HEALTHY


@pytest.mark.parametrize("use", FactUse)
def test_a_canary_without_a_warm_pod_is_never_healthy(use: FactUse) -> None:
    assert judged(Facts(warm=0), use).verdict is Verdict.INCONCLUSIVE


def test_during_a_shared_incident_facts_wait() -> None:
    drifting = Measured(replace(FINE, drift_e=5e4))
    assert judged(ACCUSED, errors=drifting).verdict is Verdict.SHARED_INCIDENT


def test_shared_distress_asks_for_more_evidence_against_the_canary() -> None:
    both = Facts(Standing.SHARED, "both sides crash", warm=1)
    assert judged(both).verdict is Verdict.SHARED_INCIDENT
    little, much = replace(BAD, e_value=400.0), BAD
    assert judged(both, errors=Measured(little)).verdict is Verdict.SHARED_INCIDENT
    assert judged(both, errors=Measured(much)).verdict is Verdict.DEGRADED


standings = st.builds(
    Facts, st.sampled_from(Standing), st.text(max_size=5), st.none() | st.integers(0, 3)
)


@given(st.data())
def test_only_an_accusation_can_make_a_case_that_evidence_does_not(data: st.DataObject) -> None:
    policy = replace(data.draw(policies()), facts=data.draw(st.sampled_from(FactUse)))
    evidence, found = data.draw(evidence_of(policy)), data.draw(standings)
    without, judgement = judge(policy, evidence), judge(policy, evidence, found)
    if judgement.verdict is Verdict.DEGRADED and without.verdict is not Verdict.DEGRADED:
        assert judgement.by_facts
        assert (found.standing, policy.facts) == (Standing.ACCUSED, FactUse.ACT)
    if judgement.verdict is Verdict.HEALTHY:
        assert without.verdict is Verdict.HEALTHY
        assert found.warm != 0
