"""Whether an API does what its own description says, also for what nobody would think of."""

from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

EXAMPLES = 40


def conforms(description: str, token: str, examples: int = EXAMPLES) -> int:
    """Try every call that is described; return how many there are.

    Args:
        description: address of the description. token: may decide. examples: tries of each call.

    Raises:
        AssertionError: an answer is not as described.
    """
    api = schemathesis.openapi.from_url(description)
    operations = [each.ok() for each in api.get_all_operations() if isinstance(each, Ok)]
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
        def as_described(case: Any) -> None:  # noqa: ANN401 - the library's cases are generic
            try:
                headers = {"Authorization": f"Bearer {token}"}
                case.call_and_validate(headers=headers, timeout=10)
            except FailureGroup as group:
                text = "\n".join(str(each) for each in group.exceptions)
                raise AssertionError(text) from None

        as_described()
    return len(operations)
