"""The API does what its description says, also for requests that nobody would think of."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from tests.web.house import TOKEN, House, open_house


@pytest.fixture(scope="module")
def api() -> Iterator[schemathesis.BaseSchema]:
    with open_house(House()) as url:
        yield schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json")


def test_every_answer_is_as_described(api: schemathesis.BaseSchema) -> None:
    operations = [each.ok() for each in api.get_all_operations() if isinstance(each, Ok)]
    assert len(operations) == 4
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        def conforms(case: Any) -> None:  # noqa: ANN401 - the library's cases are generic
            try:
                headers = {"Authorization": f"Bearer {TOKEN}"}
                case.call_and_validate(headers=headers, timeout=10)
            except FailureGroup as group:
                text = "\n".join(str(each) for each in group.exceptions)
                raise AssertionError(text) from None

        conforms()


def test_the_description_names_every_decision_and_every_field(
    api: schemathesis.BaseSchema,
) -> None:
    schemas = api.raw_schema["components"]["schemas"]
    assert set(schemas["Verb"]["enum"]) >= {"rollback", "approve", "reject", "snooze", "resume"}
    assert {"id", "phase", "plan_key", "turn", "evidence"} <= set(schemas["WatchView"]["required"])
