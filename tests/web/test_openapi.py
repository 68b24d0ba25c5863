"""The API does what its description says, also for requests that nobody would think of."""

import requests

from tests.web.described import conforms
from tests.web.house import TOKEN, House, open_house


def test_every_answer_is_as_described() -> None:
    with open_house(House()) as url:
        assert conforms(f"{url}/api/v1/openapi.json", TOKEN) == 4


def test_the_description_names_every_decision_and_every_field() -> None:
    with open_house(House()) as url:
        described = requests.get(f"{url}/api/v1/openapi.json", timeout=10).json()
    schemas = described["components"]["schemas"]
    assert set(schemas["Verb"]["enum"]) >= {"rollback", "approve", "reject", "snooze", "resume"}
    assert {"id", "phase", "plan_key", "turn", "evidence"} <= set(schemas["WatchView"]["required"])
