from collections.abc import Sequence
from dataclasses import replace

from actions.guards.register import checks
from actions.guards.situation import PastAction, Situation
from actions.plan import Draft, Plan, Refused, Step, plan_from_json, plan_to_json
from actions.planner import plan
from analyzer.policy import Policy
from analyzer.rollout import Revision, Rollout, Workload

SHOP = Workload("c", "n", "Deployment", "shop")
V1, V2 = Revision("uid-1", "v1"), Revision("uid-2", "v2")
ROLLOUT = Rollout(SHOP, V2, V1, (), (), ("namespace", "pod"), 0.0)
POLICY = Policy("p", (), actuators=("rollback",), cool_down_s=600)
STEP = Step("rollback", {"name": "shop"}, {"rs": "uid-2"}, {"rs": "uid-1", "summary": "undo shop"})
DRAFT = Draft((STEP,))


def made(
    rollout: Rollout = ROLLOUT,
    *,
    policy: Policy = POLICY,
    drafts: Sequence[tuple[str, Draft]] = (("rollback", DRAFT),),
    past: Sequence[PastAction] = (),
    attempt: int = 1,
) -> Plan | Refused:
    situation = Situation(policy, rollout, drafts, past, now=1000.0)
    return plan(situation, checks(situation), "w", attempt)


def reasons(result: Plan | Refused) -> str:
    assert isinstance(result, Refused)
    return "; ".join(result.reasons)


def the_plan(result: Plan | Refused) -> Plan:
    assert isinstance(result, Plan)
    return result


def test_a_plan_says_what_it_would_do_and_carries_keys() -> None:
    found = the_plan(made())
    assert found.describe() == "undo shop"
    assert found.key
    assert found.steps[0].key
    assert the_plan(made()).key == found.key


def test_another_world_or_another_attempt_is_another_plan() -> None:
    other = replace(STEP, expected={"rs": "uid-3"})
    keys = {
        the_plan(made()).key,
        the_plan(made(attempt=2)).key,
        the_plan(made(drafts=[("rollback", Draft((other,)))])).key,
    }
    assert len(keys) == 3


def test_a_plan_survives_the_journal() -> None:
    found = the_plan(made())
    assert plan_from_json(plan_to_json(found)) == found


def test_each_guard_refuses_with_its_own_words() -> None:
    assert "no known-good revision" in reasons(made(replace(ROLLOUT, baseline=None)))
    assert "names no action" in reasons(made(policy=replace(POLICY, actuators=()), drafts=[]))
    refused = Draft(refusals=("shop was paused by hand",))
    assert reasons(made(drafts=[("rollback", refused)])) == "rollback: shop was paused by hand"
    assert "nothing to change" in reasons(made(drafts=[("rollback", Draft())]))


def test_cool_down_and_a_bad_target_refuse() -> None:
    lately = PastAction(SHOP, 500.0, "uid-0", "uid-1")
    assert "cool-down ends in 1 min 40 s" in reasons(made(past=[lately]))
    long_ago = PastAction(SHOP, 300.0, "uid-0", "uid-1")
    assert isinstance(made(past=[long_ago]), Plan)
    elsewhere = PastAction(replace(SHOP, name="cart"), 999.0, "uid-2", "uid-1")
    assert isinstance(made(past=[elsewhere]), Plan)
    was_bad = PastAction(SHOP, 0.0, "uid-1", "uid-0")
    assert "was itself rolled back before" in reasons(made(past=[was_bad]))


def test_all_reasons_are_told_at_once() -> None:
    lately = PastAction(SHOP, 500.0, "uid-1", "uid-0")
    refused = [("rollback", Draft(refusals=("paused",)))]
    assert len(reasons(made(drafts=refused, past=[lately])).split("; ")) == 3
