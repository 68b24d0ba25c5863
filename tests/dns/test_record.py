from dataclasses import replace

import pytest

from actions.dns.record import Member, Record, Routing, fault, plain

WEIGHTED = Record(
    "www.shop.test",
    "A",
    60,
    (Member("eu", ("192.0.2.1",), 3.0), Member("us", ("192.0.2.2",), 1.0)),
    Routing.WEIGHTED,
)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (plain("www.other.test", "A", 60, ("192.0.2.1",)), "not in the zone"),
        (plain("wwwshop.test", "A", 60, ("192.0.2.1",)), "not in the zone"),
        (plain("shop.test", "CNAME", 60, ("a.test",)), "apex"),
        (plain("www.shop.test", "MX", 60, ("a.test",)), "only A, AAAA and CNAME"),
        (plain("www.shop.test", "A", 60, ("a.test",)), "cannot be the value"),
        (plain("www.shop.test", "A", 60, ("192.0.2.256",)), "cannot be the value"),
        (plain("www.shop.test", "AAAA", 60, ("192.0.2.1",)), "cannot be the value"),
        (plain("www.shop.test", "CNAME", 60, ("a.test", "b.test")), "one name only"),
        (replace(WEIGHTED, members=()), "lead to nothing"),
        (
            replace(WEIGHTED, members=tuple(replace(m, weight=0.0) for m in WEIGHTED.members)),
            "sum to 0",
        ),
        (replace(WEIGHTED, members=(Member("eu", (), float("nan")),)), "below 0"),
    ],
)
def test_what_must_not_be_written_is_named(record: Record, says: str) -> None:
    why = fault(record, "shop.test.")
    assert why is not None
    assert says in why


def test_a_sound_record_has_no_fault() -> None:
    assert fault(WEIGHTED, "Shop.test.") is None
    assert fault(plain("shop.test", "A", 0, ("192.0.2.1",)), "shop.test") is None


def test_people_see_where_a_name_leads() -> None:
    assert WEIGHTED.describe() == "www.shop.test A → eu 3, us 1"
    assert replace(WEIGHTED, routing=Routing.FAILOVER).describe() == (
        "www.shop.test A → eu, then us"
    )
