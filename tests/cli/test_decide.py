"""The commands with which people decide, against a real server."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rollbackd.cli import main
from rollbackd.decisions import Answer, Decision, Outcome, Verb
from rollbackd.http import Doors, HttpServer, application
from rollbackd.views import WatchView
from tests.cli import sample_views
from tests.config.files import minimal, write

WAITING = replace(sample_views.degraded(), phase="awaiting approval", plan_key="plan-1", turn=2)


@dataclass
class Desk:
    """Takes note of decisions, and answers what it is told to."""

    views: tuple[WatchView, ...] = (WAITING, sample_views.healthy())
    taken: list[Decision] = field(default_factory=list)
    outcome: Outcome = field(default_factory=lambda: Outcome(Answer.TAKEN, "", "acting"))

    def decide(self, decision: Decision) -> Outcome:
        self.taken.append(decision)
        return self.outcome


@dataclass
class Site:
    desk: Desk
    config: Path

    def run(self, *words: str, typed: str = "") -> Result:
        by = ("--by", "ann", "--config", str(self.config))
        return CliRunner().invoke(main, [*words, *by], input=typed)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    desk = Desk()
    doors = Doors(
        views=lambda: desk.views,
        metrics=lambda: b"",
        unready=lambda: "",
        decide=desk.decide,
        release=lambda _watch, _by: Outcome(Answer.TAKEN, ""),
        token=lambda: "s3cret",
    )
    server = HttpServer(application(doors), "127.0.0.1", 0)
    server.start()
    (tmp_path / "token").write_text("s3cret")
    http = {"listen": f"127.0.0.1:{server.port}", "token_file": "token"}
    yield Site(desk, write(tmp_path, minimal() | {"http": http}))
    server.close()


def test_a_plan_is_shown_before_it_is_approved(site: Site) -> None:
    refused = site.run("approve", "shop/checkout", typed="n\n")
    assert refused.exit_code == 1
    assert site.desk.taken == []
    agreed = site.run("approve", "shop/checkout", typed="y\n")
    assert agreed.output.splitlines()[-1] == "shop/checkout: acting"
    for shown in ("5d9f1 → 7c4b9", "errors 4.1 %", "roll shop/checkout back to 5d9f1"):
        assert shown in agreed.output
    (decision,) = site.desk.taken
    assert (decision.verb, decision.plan_key, decision.turn) == (Verb.APPROVE, "plan-1", 2)
    assert (decision.by.name, decision.by.trusted) == ("ann", True)


def test_a_plan_that_is_not_in_force_is_not_decided_about(site: Site) -> None:
    assert "not the one in force" in site.run("reject", "shop/checkout", "--plan", "x").output
    assert site.desk.taken == []
    assert site.run("reject", "shop/checkout", "--plan", "plan-1").exit_code == 0
    assert site.desk.taken[0].verb is Verb.REJECT


def test_a_rollback_is_asked_about_unless_told_not_to(site: Site) -> None:
    assert site.run("rollback", "search-frontend", typed="n\n").exit_code == 1
    assert site.desk.taken == []
    assert site.run("rollback", "search-frontend", "--yes").exit_code == 0
    assert site.desk.taken[0].verb is Verb.ROLL_BACK


def test_a_snooze_is_as_long_as_one_says(site: Site) -> None:
    assert site.run("snooze", "search-frontend", "--minutes", "5", "--yes").exit_code == 0
    assert site.run("snooze", "search-frontend", "--minutes", "0").exit_code == 2
    assert site.run("resume", "search-frontend").exit_code == 0
    snoozed, resumed = site.desk.taken
    assert (snoozed.verb, snoozed.for_s) == (Verb.SNOOZE, 300.0)
    assert resumed.verb is Verb.RESUME


def test_what_became_of_it_is_told(site: Site) -> None:
    site.desk.outcome = Outcome(Answer.STALE, "this is no longer current", "acting")
    answer = site.run("rollback", "search-frontend", "--yes")
    assert (answer.exit_code, answer.output) == (1, "Error: this is no longer current\n")
