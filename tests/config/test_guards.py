"""What may be set about guards, and when a freeze is on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions.guards.guard import OwnerRule, Strength
from actions.guards.settings import GuardSettings
from actions.hold_settings import HoldSettings
from rollbackd.config import ConfigError, load
from rollbackd.config.freezes import CronFreeze, SpanFreeze, parse_cron
from tests.config.files import minimal, write

BERLIN = ZoneInfo("Europe/Berlin")


def guards(folder: Path, common: dict[str, Any], own: dict[str, Any]) -> GuardSettings:
    values = minimal()
    values["guards"], values["policies"][0]["guards"] = common, own
    (rule,) = load(write(folder, values)).policies
    return rule.guards


def test_the_defaults_are_those_of_the_guards(tmp_path: Path) -> None:
    assert guards(tmp_path, {}, {}) == GuardSettings()


def test_a_policy_sets_its_own_over_those_of_all(tmp_path: Path) -> None:
    common = {
        "namespace_budget": 2,
        "cluster_budget": 3,
        "budget_window": "30m",
        "incident_workloads": 4,
        "incident_window": "5m",
        "capacity": "warn",
        "schema": "ask",
        "returned": "refuse",
        "gitops": "warn",
    }
    settings = guards(tmp_path, common, {"cluster_budget": 9, "schema": "warn"})
    assert settings == GuardSettings(
        namespace_budget=2,
        cluster_budget=9,
        budget_window_s=1800.0,
        incident_workloads=4,
        incident_window_s=300.0,
        capacity=Strength.WARN,
        schema=Strength.WARN,
        returned=Strength.REFUSE,
        gitops=OwnerRule.WARN,
    )


def test_a_hold_is_the_first_action_of_the_policy_that_asks_for_it(tmp_path: Path) -> None:
    values = minimal()
    (policy,) = values["policies"]
    policy["actions"] = ["rollback"]
    other = {**policy, "name": "other", "guards": {"gitops": "hold"}}
    idle = {**policy, "name": "idle", "actions": [], "guards": {"gitops": "hold"}}
    values["policies"] += [other, idle]
    rules = load(write(tmp_path, values)).policies
    assert [rule.policy.actuators for rule in rules] == [
        ("rollback",),
        ("gitops-hold", "rollback"),
        (),
    ]


def test_without_a_cluster_there_is_no_owner_to_hold(tmp_path: Path) -> None:
    values = minimal()
    values["rollouts"] = {"static_file": "static.yaml"}
    values["actions"] = [{"name": "gitops-hold", "splitter-switch": {"file": "weights"}}]
    values["guards"] = {"gitops": "hold"}
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, values))
    assert "there is no owner to hold" in str(caught.value)
    assert "is an action of ours" in str(caught.value)


def test_a_policy_may_take_the_freezes_away(tmp_path: Path) -> None:
    sale = {"name": "sale", "from": "2026-11-26 18:00", "to": "2026-11-30 08:00"}
    (freeze,) = guards(tmp_path, {"freezes": [sale]}, {}).freezes
    assert freeze.name == "sale"
    assert freeze.strength is Strength.REFUSE
    assert guards(tmp_path, {"freezes": [sale]}, {"freezes": []}).freezes == ()


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ({"namespace_budget": 0}, "namespace_budget"),
        ({"budget_window": "2d"}, "longer than a day"),
        ({"capacity": "ignore"}, "capacity"),
        ({"freezes": [{"name": "x"}]}, "no time alone do not make a freeze"),
        ({"freezes": [{"name": "x", "cron": "0 18 * * fri"}]}, "cron alone do not make"),
        ({"freezes": [{"name": "x", "cron": "0 18 * *", "lasts": "1h"}]}, "five fields"),
        ({"freezes": [{"name": "x", "cron": "0 25 * * *", "lasts": "1h"}]}, "hour between"),
        ({"freezes": [{"name": "x", "cron": "0 18 * * fri", "lasts": "40d"}]}, "31 days"),
        ({"freezes": [{"name": "x", "from": "tomorrow", "to": "later"}]}, "not a moment"),
        (
            {"freezes": [{"name": "x", "from": "2026-11-26 18:00", "to": "2026-11-26 17:00"}]},
            "ends before it begins",
        ),
        (
            {"freezes": [{"name": "x", "timezone": "Berlin", "cron": "* * * * *", "lasts": "1h"}]},
            "no time zone",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, guard: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        guards(tmp_path, guard, {})
    assert said in str(caught.value)


def moment(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def test_a_span_in_its_time_zone(tmp_path: Path) -> None:
    sale = {"name": "sale", "from": "2026-11-26 18:00", "to": "2026-11-30 08:00"}
    zoned = {**sale, "timezone": "America/New_York"}
    (freeze,) = guards(tmp_path, {"freezes": [zoned]}, {}).freezes
    begins = datetime(2026, 11, 26, 23, 0, tzinfo=UTC).timestamp()
    ends = datetime(2026, 11, 30, 13, 0, tzinfo=UTC).timestamp()
    assert freeze == SpanFreeze("sale", Strength.REFUSE, begins, ends)
    assert freeze.ends_at(begins - 1) is None
    assert freeze.ends_at(begins) == ends
    assert freeze.ends_at(ends - 1) == ends
    assert freeze.ends_at(ends) is None


WEEKEND = CronFreeze("weekend", Strength.ASK, parse_cron("0 18 * * FRI", BERLIN), 62 * 3600.0)


@pytest.mark.parametrize(
    ("at", "on"),
    [
        ("2026-11-20T17:59", False),
        ("2026-11-20T18:00", True),
        ("2026-11-22T03:00", True),
        ("2026-11-23T07:59", True),
        ("2026-11-23T08:00", False),
        ("2026-11-25T18:00", False),
    ],
)
def test_a_weekend_that_comes_back(at: str, on: bool) -> None:
    end = WEEKEND.ends_at(moment(at))
    assert end == (moment("2026-11-23T08:00") if on else None)


def test_the_clock_may_change_meanwhile() -> None:
    """A window lasts as long as it says; on the night that has an hour more it ends an hour early."""
    assert WEEKEND.ends_at(moment("2026-10-24T12:00")) == moment("2026-10-26T07:00")


@pytest.mark.parametrize(
    ("line", "named", "other"),
    [
        ("30 6-8 * * *", "2026-11-23T07:30", "2026-11-23T09:30"),
        ("*/20 0 1 jan,jul *", "2026-07-01T00:40", "2026-08-01T00:40"),
        ("0 0 * * 0", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("0 0 * * 7", "2026-11-22T00:00", "2026-11-23T00:00"),
        ("0 0 13 * fri", "2026-11-13T00:00", "2026-11-14T00:00"),
        ("0 0 13 * fri", "2026-12-13T00:00", "2026-12-12T00:00"),
        ("0 0 * * mon-fri", "2026-11-23T00:00", "2026-11-22T00:00"),
    ],
)
def test_cron_lines(line: str, named: str, other: str) -> None:
    cron = parse_cron(line, BERLIN)
    assert cron.last_before(moment(named), 60.0) == moment(named)
    assert cron.last_before(moment(other), 60.0) is None


@pytest.mark.parametrize(
    "line", ["", "* * * *", "x * * * *", "5-1 * * * *", "*/0 * * * *", "-1 * * * *"]
)
def test_what_is_no_cron_line(line: str) -> None:
    with pytest.raises(ValueError):
        parse_cron(line, BERLIN)


@given(
    minute=st.integers(0, 2 * 365 * 24 * 60),
    lasts_h=st.integers(1, 31 * 24),
    hour=st.integers(0, 23),
    day=st.integers(1, 31),
)
def test_a_window_is_on_from_each_beginning_for_as_long_as_it_lasts(
    minute: int, lasts_h: int, hour: int, day: int
) -> None:
    """The same as looking at every minute that begins one, without change of the clock."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    freeze = CronFreeze(
        "w", Strength.WARN, parse_cron(f"0 {hour} {day} * *", ZoneInfo("UTC")), lasts_h * 3600.0
    )
    hours = (now.replace(minute=0) - timedelta(hours=back) for back in range(lasts_h + 1))
    begun = [h for h in hours if (h.hour, h.day) == (hour, day)]
    last = max((h for h in begun if now - h < timedelta(hours=lasts_h)), default=None)
    expected = None if last is None else (last + timedelta(hours=lasts_h)).timestamp()
    assert freeze.ends_at(now.timestamp()) == expected


def held(tmp_path: Path, hold: object, **policy: object) -> HoldSettings | None:
    values = minimal()
    own = {"mode": "enforce", "actions": ["rollback"], "hold": hold} | policy
    values["policies"][0] |= own
    (rule,) = load(write(tmp_path, values)).policies
    return rule.hold


@pytest.mark.parametrize(
    ("hold", "settings"),
    [
        (None, None),
        ({}, HoldSettings()),
        ({"pods": 3}, HoldSettings(pods=3)),
        ({"pods": "20%", "inconclusive": "stay"}, HoldSettings(share=0.2, stays=True)),
    ],
)
def test_holds(tmp_path: Path, hold: object, settings: HoldSettings | None) -> None:
    assert held(tmp_path, hold) == settings


@pytest.mark.parametrize(
    ("hold", "policy", "said"),
    [
        ({"pods": 0}, {}, "is no number of pods"),
        ({"pods": "120%"}, {}, "more than 100 %"),
        ({"pods": True}, {}, "is no number of pods"),
        ({"inconclusive": "roll back"}, {}, "inconclusive"),
        ({}, {"mode": "observe"}, "mode observe changes nothing"),
        ({}, {"actions": []}, "could not be rolled back"),
    ],
)
def test_a_hold_that_cannot_be(
    tmp_path: Path, hold: object, policy: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        held(tmp_path, hold, **policy)
    assert said in str(caught.value)
