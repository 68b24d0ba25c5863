"""What the canary calls, and is asked for, that differs from the baseline: told, or evidence."""

from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.evidence import Finding
from analyzer.judge import Verdict, admitted, judge
from analyzer.sample import Grid, Query, Series
from analyzer.signal import ChangedCalls, Selector, Tier, TraceSignal
from analyzer.traces import operations as names
from analyzer.traces.operations import call_of
from analyzer.traces.shares import STRUCTURE, Aspect
from analyzer.traces.summing import Asked, Measure, sum_up
from analyzer.traces.wording import Accusation
from rollbackd.traces.book import TraceBook
from rollbackd.traces.catalogue import Bounds, Catalogue
from tests.traces.building import CLIENT, Made, span_id, trace_id
from tests.traces.columns import every_of
from tests.traces.street import POLICY, SIGNAL, Shape, Street, found

LIMIT = 1.0 / POLICY.alpha
AUDITED = Shape(other_call="POST audit", errors=0.0)
SOMETIMES = Shape(other_call="POST audit", other_share=0.4, errors=0.0)
ORDERED = Shape(orders=0.3, errors=0.0)
PLAIN = Shape(errors=0.0)
HARM = replace(SIGNAL, changed_calls=ChangedCalls.HARM)
CHANGES = [
    (AUDITED, PLAIN, "no `POST audit` calls any more, before in 100 % of spans"),
    (SOMETIMES, PLAIN, "no `POST audit` calls any more, before in "),
    (PLAIN, AUDITED, "GET /: 1.0 new `POST audit` calls per request"),
    (ORDERED, PLAIN, "POST /order: not asked for any more: 0 % of its requests vs 3"),
    (PLAIN, replace(PLAIN, layers=3), "GET /: "),
]
IDS = ["vanished", "vanished sometimes", "new", "requests", "deeper"]


def live(signal: TraceSignal, usual: Shape, canary: Shape, minutes: float = 6) -> Finding:
    return found(Street(signal=signal).live(minutes, canary=canary, usual=usual))


@pytest.mark.parametrize(("usual", "canary", "says"), CHANGES, ids=IDS)
def test_changed_calls_are_told_and_are_no_harm_of_themselves(
    usual: Shape, canary: Shape, says: str
) -> None:
    finding = live(SIGNAL, usual, canary)
    assert "no operation is worse" in finding.told
    assert says in finding.told.partition("changed: ")[2]
    assert not finding.harmful
    assert finding.e_value <= 0.1 * LIMIT + 1.0
    assert finding.examples or says.startswith("POST /order")


@pytest.mark.parametrize(("usual", "canary", "says"), CHANGES, ids=IDS)
def test_changed_calls_are_evidence_where_they_are_called_harm(
    usual: Shape, canary: Shape, says: str
) -> None:
    finding = live(HARM, usual, canary)
    assert says in finding.told
    assert finding.harmful
    assert finding.e_value >= LIMIT


@pytest.mark.parametrize("changed", ChangedCalls)
@pytest.mark.parametrize("usual", [AUDITED, SOMETIMES, ORDERED], ids=IDS[:2] + IDS[3:4])
def test_the_same_calls_are_nothing(usual: Shape, changed: ChangedCalls) -> None:
    finding = live(replace(SIGNAL, changed_calls=changed), usual, usual)
    assert finding.tested
    assert not finding.harmful
    assert finding.e_value < 2.0
    assert "changed" not in finding.told


def test_what_is_ignored_is_not_told() -> None:
    finding = live(replace(SIGNAL, changed_calls=ChangedCalls.IGNORED), AUDITED, PLAIN)
    assert "audit" not in finding.told


def accusation(aspect: Aspect, e_value: float, share: float) -> Accusation:
    finding = Finding(e_value, True, 3.0, 3.0, 1.0, 9.0, True, False, 0.3, 0.1)
    return Accusation("shop|server|GET /", aspect, finding, share)


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.sampled_from(sorted(STRUCTURE)))
def test_changed_calls_bring_a_case_no_further_than_a_tenth_of_the_way(
    worse: float, changed: float, aspect: Aspect
) -> None:
    every = every_of([accusation(Aspect.ERRORS, worse, 0.5), accusation(aspect, changed, 0.5)])
    seen = Asked(np.array([100.0]), np.array([True]))
    told = sum_up(every, seen, Measure(ChangedCalls.TOLD, LIMIT))
    assert told.e_value == pytest.approx(0.5 * worse + min(0.5 * changed, 0.1 * LIMIT))
    assert told.harmful == (0.5 * worse >= 1.0)
    both = sum_up(every, seen, Measure(ChangedCalls.HARM, LIMIT))
    assert both.e_value == pytest.approx(0.5 * (worse + changed))
    only = every_of([accusation(aspect, changed, 0.5)])
    alone = sum_up(only, seen, Measure(ChangedCalls.TOLD, LIMIT))
    assert admitted(alone) <= 1.0


def test_a_guilty_operation_is_named_with_the_calls_that_changed() -> None:
    text = found(Street().live(4, canary=replace(PLAIN, errors=0.3), usual=AUDITED)).told
    assert text.startswith("GET /: ")
    assert "no `POST audit` calls any more" in text


def test_a_new_call_does_not_keep_a_release_from_being_healthy() -> None:
    signal = replace(SIGNAL, tier=Tier.CRITICAL)
    street = Street(signal=signal, rate=60)
    evidence = street.live(12, canary=AUDITED, usual=PLAIN)
    judgement = judge(replace(POLICY, signals=(signal,)), {signal.name: evidence})
    assert judgement.verdict is Verdict.HEALTHY
    assert "new `POST audit` calls" in judgement.reasons[0].text


def series(street: Street, metric: str, part: str, wanted: str) -> Series:
    pods = frozenset({"old-1", "new-1"})
    restrict = (("pod", pods), (part, frozenset({wanted})))
    grid = Grid(street.now, 10.0, 1)
    (reply,) = street.counters.fetch([Query(Selector(metric), ("pod", part), restrict)], grid)
    assert isinstance(reply, Series), reply
    return reply


def told(street: Street, metric: str, part: str, wanted: str) -> dict[str, float]:
    """Return the newest value of each pod."""
    reply = series(street, metric, part, wanted)
    return {key[0]: value for key, value in zip(reply.keys, reply.values[:, 0], strict=True)}


def filled(book: TraceBook | None = None) -> Street:
    """Return a street on which one pod makes a call and is asked for something, and one does not."""
    street = Street(book=book or TraceBook(Catalogue()))
    for pod, calls in (("old-1", True), ("new-1", False)):
        for _ in range(3):
            trace, root = trace_id(), span_id()
            spans = [Made("GET /", trace=trace, span=root)]
            spans += [Made("SELECT a", CLIENT, 0.0, 0.01, trace, span_id(), root)] * calls
            spans += [Made("POST /order", trace=trace_id())] * calls
            street.send(spans, pod)
    for _ in range(2):
        street.book.turn(street.now)
    return street


CALL = call_of("shop|server|GET /", "shop|client|SELECT a")
ORDER = "shop|server|POST /order"


def test_what_an_instance_never_did_is_zero_and_not_missing() -> None:
    street = filled()
    assert told(street, names.CALL_MADE, names.CALL, CALL) == {"old-1": 3, "new-1": 0}
    assert told(street, names.CALL_POSSIBLE, names.CALL, CALL) == {"old-1": 3, "new-1": 3}
    requested = told(street, names.REQUESTED, names.OPERATION, ORDER)
    entries = told(street, names.ENTRIES, names.OPERATION, ORDER)
    assert (requested["new-1"], entries["new-1"]) == (0, 3)
    assert requested["old-1"] == entries["old-1"] - 3 > 0


def test_a_call_is_not_missed_where_there_was_no_room_to_count_it() -> None:
    street = filled(TraceBook(Catalogue(bounds=Bounds(keys=1))))
    trace, root = trace_id(), span_id()
    other = Made("SELECT b", CLIENT, 0.0, 0.01, trace, span_id(), root)
    street.send([Made("GET /", trace=trace, span=root), other], "new-1")
    for _ in range(2):
        street.book.turn(street.now)
    made = told(street, names.CALL_MADE, names.CALL, CALL)
    assert made["old-1"] == 3
    assert isnan(made["new-1"])


def test_a_request_is_not_missed_where_there_was_no_room_to_count_it() -> None:
    street = filled(TraceBook(Catalogue(bounds=Bounds(rows=4))))
    street.send([Made("GET /elsewhere")], "new-1")
    assert isnan(told(street, names.REQUESTED, names.OPERATION, ORDER)["new-1"])
