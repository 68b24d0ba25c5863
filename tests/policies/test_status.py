"""What is told of a policy: by the API conventions, bounded, and only what changed."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from analyzer.policy import Mode
from rollbackd.config.custom_resource import definition
from rollbackd.config.manifests import Limits, read_policy
from rollbackd.policies.resource import PolicyResource
from rollbackd.policies.status import essence, merge_patch, stamp, status_of
from rollbackd.views import TimelineItem, WatchView
from tests.cli import sample_views
from tests.fakes.kube_api.objects.json_patches import merge_patched
from tests.policies.shelf import policy

NOW = sample_views.START + 300.0
LATER = NOW + 60.0


def resource(
    trouble: str = "", mode: str = "enforce", limits: Limits | None = None
) -> PolicyResource:
    made = policy(mode=mode, actions=["rollback"])
    read = read_policy(made, limits or Limits())
    return PolicyResource("u", "shop", "checkout", 3, 0.0, read, trouble, read.rule.match)


def view(**parts: Any) -> WatchView:  # noqa: ANN401 - fields of a view
    return replace(sample_views.degraded(), policy="shop/checkout", **parts)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def fits(value: object, schema: dict[str, Any], path: str = "status") -> None:
    """Check a value as the API server does, and that nothing of it would be pruned."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int}
    assert isinstance(value, kinds[schema["type"]]), path
    if isinstance(value, dict):
        assert value.keys() <= schema["properties"].keys(), path
        assert set(schema.get("required", ())) <= value.keys(), path
        for key, inner in value.items():
            fits(inner, schema["properties"][key], f"{path}.{key}")
    if isinstance(value, list):
        assert len(value) <= schema.get("maxItems", 10), path
        for inner in value:
            fits(inner, schema["items"], f"{path}[]")
    if isinstance(value, str):
        assert len(value) <= schema.get("maxLength", 64), path
        assert value in schema.get("enum", (value,)), path


def schema() -> dict[str, Any]:
    (version,) = definition()["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return found


def test_it_tells_of_watches_in_progress() -> None:
    other = view(id="b", verdict="healthy", workload="shop/search", started_at=NOW)
    elsewhere = replace(sample_views.degraded(), policy="shop/other")
    over = view(id="c", final=True, verdict="degraded", phase="inconclusive")
    status = status_of(resource(), {}, [other, view(), elsewhere, over], NOW)
    assert (status["watching"], status["verdict"], status["mode"]) == (2, "degraded", "enforce")
    assert status["observedGeneration"] == 3
    first, second = status["watches"]
    assert (first["workload"], first["verdict"]) == ("shop/checkout", "degraded")
    assert second["workload"] == "shop/search"
    assert first["reasons"] == list(view().reasons[:3])
    assert conditions(status) == {
        "Ready": ("True", "Valid"),
        "Limited": ("False", "AsAsked"),
        "Degraded": ("True", "RolloutDegraded"),
    }
    fits(status, schema())


def test_it_is_bounded_and_holds_what_the_definition_allows() -> None:
    long = "x" * 5000
    many = [
        view(id=str(i), workload=long, canary=long, baseline=long, reasons=(long,) * 9)
        for i in range(100)
    ]
    trouble = resource(trouble="y" * 100_000)
    status = status_of(trouble, {}, many, NOW)
    assert status["watching"] == 100
    fits(status, schema())


def test_conditions_keep_their_time_until_their_status_changes() -> None:
    first = status_of(resource(), {}, [view()], NOW)
    second = status_of(resource("wrong"), first, [view(reasons=("other",))], LATER)
    times = {
        kind: [c["lastTransitionTime"] for c in each["conditions"] if c["type"] == kind]
        for kind in ("Ready", "Degraded")
        for each in (second,)
    }
    assert times == {"Ready": [stamp(LATER)], "Degraded": [stamp(NOW)]}
    third = status_of(resource("wrong"), second, [], LATER + 60)
    assert conditions(third)["Degraded"] == ("False", "NothingDegraded")
    assert "verdict" not in third


def test_a_policy_that_is_wrong_says_all_of_it() -> None:
    kept = status_of(resource("spec.alpha: must be"), {}, [], NOW)
    assert conditions(kept)["Ready"] == ("False", "InvalidVersion")
    (ready, *_) = kept["conditions"]
    assert ready["message"] == "spec.alpha: must be; its last valid version stays in force"
    never = status_of(replace(resource("spec.alpha: must be"), read=None), {}, [], NOW)
    assert conditions(never) == {
        "Ready": ("False", "Invalid"),
        "Limited": ("Unknown", "Invalid"),
        "Degraded": ("False", "NothingDegraded"),
    }
    assert "are not watched" in never["conditions"][0]["message"]
    assert "mode" not in never
    fits(never, schema())


def test_a_limit_is_told() -> None:
    status = status_of(resource(limits=Limits(mode=Mode.OBSERVE)), {}, [], NOW)
    assert conditions(status)["Limited"] == ("True", "ModeLimited")
    assert status["mode"] == "observe"
    assert "policy_resources.mode of the configuration is observe" in str(status["conditions"])


def test_the_last_action_is_remembered_when_its_watch_is_forgotten() -> None:
    acted = view(
        timeline=(
            TimelineItem(NOW - 60, "phase", "degraded: errors"),
            TimelineItem(NOW - 50, "phase", "acting: rolling back"),
            TimelineItem(NOW - 10, "phase", "rolled back: errors are back to 0.4 %"),
        ),
        final=True,
    )
    status = status_of(resource(), {}, [acted], NOW)
    assert status["lastAction"] == {
        "time": stamp(NOW - 10),
        "workload": "shop/checkout",
        "canary": acted.canary,
        "phase": "rolled back",
        "text": "errors are back to 0.4 %",
    }
    assert status_of(resource(), status, [], LATER)["lastAction"] == status["lastAction"]
    older = replace(acted, timeline=(TimelineItem(NOW - 900, "phase", "acting: x"),))
    assert status_of(resource(), status, [older], LATER)["lastAction"] == status["lastAction"]
    assert "lastAction" not in status_of(resource(), {}, [view(timeline=())], NOW)


def test_nothing_changes_when_nothing_changed() -> None:
    first = status_of(resource(), {}, [view()], NOW)
    second = status_of(resource(), first, [view(updated_at=LATER, evidence=9.9)], LATER)
    assert first == second
    assert merge_patch(first, second) == {}
    numbers = status_of(resource(), first, [view(reasons=("errors 4.2 %",))], LATER)
    assert numbers != first
    assert essence(numbers) == essence(first)
    phase = status_of(resource(), first, [view(phase="rolled back")], LATER)
    assert essence(phase) != essence(first)


STATUSES = st.dictionaries(
    st.sampled_from(["watching", "verdict", "watches", "mode"]),
    st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
)


@given(STATUSES, STATUSES)
def test_the_patch_makes_one_of_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merge_patched(before, merge_patch(before, after)) == after
