"""Trains in a configuration: harmless at first, and never without a way on."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from analyzer.policy import Mode
from analyzer.trains.policy import OnFailure
from rollbackd.config import ConfigError, load
from rollbackd.config.train_settings import DispatchSettings, UnpauseSettings
from rollbackd.trains.wiring import Surroundings, conductor
from rollbackd.withdrawals import State, Withdrawn
from tests.config.files import minimal, write
from tests.fakes.memory_journal import MemoryJournal

Values = dict[str, Any]


def train() -> Values:
    return {
        "name": "shop",
        "regions": [
            {"name": "eu", "workload": "shop/web"},
            {
                "name": "us",
                "workload": "shop/web",
                "daemon": {"url": "http://us:9469", "bearer_token_file": "us-token"},
                "github": {
                    "repository": "acme/shop",
                    "workflow": "deploy.yaml",
                    "secret_file": "github-token",
                },
            },
            {
                "name": "ap",
                "workload": "shop/web",
                "daemon": {"url": "http://ap:9469", "bearer_token_file": "ap-token"},
                "unpause": {"workload": "shop/web", "server": "http://127.0.0.1:1"},
            },
        ],
    }


def loaded(tmp_path: Path, values: Values) -> Any:  # noqa: ANN401  a list in Config
    return load(write(tmp_path, minimal() | {"trains": [values]})).trains[0]


def test_a_train_begins_harmless_and_secrets_stay_where_they_are(tmp_path: Path) -> None:
    found = loaded(tmp_path, train())
    assert (found.policy.mode, found.policy.on_failure) == (Mode.OBSERVE, OnFailure.STOP)
    assert [stop.region for stop in found.stops] == ["eu", "us", "ap"]
    assert isinstance(found.stops[1].lever, DispatchSettings)
    assert isinstance(found.stops[2].lever, UnpauseSettings)
    assert {key: secret.file for key, secret in found.secrets().items()} == {
        "regions[1].daemon.bearer_token": tmp_path / "us-token",
        "regions[1].github": tmp_path / "github-token",
        "regions[2].daemon.bearer_token": tmp_path / "ap-token",
    }


def test_a_conductor_is_built_and_reads_no_secret_before_it_is_used(tmp_path: Path) -> None:
    around = Surroundings(
        journal=MemoryJournal(),
        now=lambda: 1.0,
        pause=lambda _: True,
        permit=lambda: None,
        views=lambda: (),
        withdraw=lambda *_: Withdrawn(State.UNKNOWN, ""),
    )
    with ExitStack() as stack:
        made = conductor([loaded(tmp_path, train())], around, stack)
        made.restore()
        assert [each.name for each in made.trains()] == ["shop"]
        made.close()


def _without_lever(values: Values) -> None:
    del values["regions"][1]["github"]
    values["mode"] = "enforce"


def _without_token(values: Values) -> None:
    del values["regions"][1]["daemon"]["bearer_token_file"]
    values["on_failure"] = "roll_back"


def _first_with_lever(values: Values) -> None:
    values["regions"][0]["unpause"] = {"workload": "shop/web"}


def _twice(values: Values) -> None:
    values["regions"][2]["name"] = "us"


def _same_place(values: Values) -> None:
    del values["regions"][1]["daemon"]


def _two_levers(values: Values) -> None:
    values["regions"][1]["unpause"] = {"workload": "shop/web"}


def _two_events(values: Values) -> None:
    values["regions"][1]["github"]["event_type"] = "release"


def _two_ways_in(values: Values) -> None:
    values["regions"][2]["unpause"]["context"] = "ap"


def _no_workload(values: Values) -> None:
    values["regions"][0]["workload"] = "web"


def _no_repository(values: Values) -> None:
    values["regions"][1]["github"]["repository"] = "https://github.com/acme/shop"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_lever, 'nothing releases "us"'),
        (_without_token, 'daemon of "us" has no bearer token'),
        (_first_with_lever, "the first region"),
        (_twice, 'stops at "us" twice'),
        (_same_place, "the same workload of the same daemon"),
        (_two_levers, "both github and unpause"),
        (_two_events, "exactly one of workflow and event_type"),
        (_two_ways_in, "give one of server"),
        (_no_workload, "namespace/name"),
        (_no_repository, "owner/name"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, change: Any, says: str) -> None:  # noqa: ANN401
    values = train()
    change(values)
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, values)
    told = "\n".join(f"{p.path}: {p.what} {p.hint}" for p in error.value.problems)
    assert says in told


def test_names_of_trains_are_unique(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="train"):
        load(write(tmp_path, minimal() | {"trains": [train(), train()]}))
