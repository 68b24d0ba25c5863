import json

import pytest

from actions.ports import Conflict, Permanent, Transient
from rollbackd.kubernetes.errors import Denied, Expired, NotFound, Throttled, refusal

FIELD_INVALID = {"causes": [{"reason": "FieldValueInvalid", "field": "spec.replicas"}]}
FROM_THE_FUTURE = {"causes": [{"reason": "ResourceVersionTooLarge"}]}


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (400, None, Permanent),
        (401, None, Denied),
        (403, None, Denied),
        (404, None, NotFound),
        (408, None, Transient),
        (409, None, Conflict),
        (410, None, Expired),
        (422, None, Conflict),
        (422, FIELD_INVALID, Permanent),
        (429, None, Throttled),
        (500, None, Transient),
        (503, None, Transient),
        (504, None, Transient),
        (504, FROM_THE_FUTURE, Expired),
    ],
)
def test_a_refusal_is_named_by_the_reaction_to_it(
    code: int, details: object, error: type[Exception]
) -> None:
    status = {"kind": "Status", "message": "because of this", "details": details}
    translated = refusal("PATCH /x", code, json.dumps(status).encode())
    assert type(translated) is error
    assert str(translated) == f"PATCH /x: {code} because of this"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>bad gateway", "<html>bad gateway"),
        (b"", "no reason given"),
        (b"[1]", "no reason given"),
        (b'{"reason": "InternalError"}', "InternalError"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
    ],
)
def test_what_is_no_status_object_is_quoted(body: bytes, said: str) -> None:
    assert str(refusal("GET /x", 502, body)) == f"GET /x: 502 {said}"


@pytest.mark.parametrize(
    ("header", "wait_s"), [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("tomorrow", 0.0)]
)
def test_the_wait_that_the_server_asks_for_is_kept(header: str, wait_s: float) -> None:
    throttled = refusal("GET /x", 429, b"{}", {"Retry-After": header})
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after_s == wait_s


def test_a_server_that_is_away_for_a_while_says_for_how_long() -> None:
    assert isinstance(refusal("GET /x", 503, b"{}", {"Retry-After": "2"}), Throttled)
