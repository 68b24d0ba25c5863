"""What every DNS backend promises, whatever its provider: one suite, a bench for each."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from actions.dns.record import Record, record_from_json, record_to_json
from actions.dns.switch import DnsSwitch, dns_step
from actions.plan import Step
from actions.ports import Conflict, Permanent, StepState, Transient
from tests.dns.benches import BENCHES, EU, NAME, US, Bench, changed

pytestmark = pytest.mark.servers
SPREADS_WITHIN_S = 30.0


@pytest.fixture(params=BENCHES, ids=lambda bench: bench.__name__)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    with request.param(tmp_path) as made:
        yield made


def read(bench: Bench) -> Record:
    return bench.backend.read(NAME, "A")


def await_spread(bench: Bench, record: Record) -> None:
    deadline = time.monotonic() + SPREADS_WITHIN_S
    while not (spread := bench.backend.propagation(record)).complete:
        assert time.monotonic() < deadline, spread.describe()
        time.sleep(0.02)


def test_a_record_is_read_whole_and_survives_the_journal(bench: Bench) -> None:
    record = read(bench)
    assert (record.name, record.type) == (NAME, "A")
    assert {v for m in record.members for v in m.values} in ({EU, US}, set())
    assert record.ttl in {30, 60}
    assert record_from_json(json.loads(json.dumps(record_to_json(record)))) == record
    assert read(bench) == record


def test_a_swap_changes_the_record_and_every_server_tells_it(bench: Bench) -> None:
    old = read(bench)
    new = changed(old)
    bench.backend.swap(old, new)
    assert read(bench) == new
    await_spread(bench, new)
    bench.backend.swap(new, old)
    assert read(bench) == old
    await_spread(bench, old)


def test_a_stale_swap_is_a_conflict_and_writes_nothing(bench: Bench) -> None:
    old = read(bench)
    bench.interfere()
    theirs = read(bench)
    assert theirs != old
    with pytest.raises(Conflict):
        bench.backend.swap(old, changed(old))
    assert read(bench) == theirs


def test_whoever_was_faster_between_our_look_and_our_write_wins(bench: Bench) -> None:
    if bench.when_written is None:
        pytest.skip("the provider compares nothing: whoever writes last wins, as its module says")
    old = read(bench)
    bench.when_written(bench.interfere)
    with pytest.raises(Conflict):
        bench.backend.swap(old, changed(old))
    assert read(bench) != changed(old)


def test_trouble_of_the_provider_passes(bench: Bench) -> None:
    old = read(bench)
    bench.trouble()
    with pytest.raises(Transient):
        bench.backend.read(NAME, "A")
    with pytest.raises(Transient):
        bench.backend.swap(old, changed(old))
    bench.heal()
    assert read(bench) == old


def test_what_is_not_there_or_not_ours_is_refused(bench: Bench) -> None:
    with pytest.raises(Permanent, match=r"nothing\.shop\.test"):
        bench.backend.read("nothing.shop.test", "A")
    with pytest.raises(Permanent):
        bench.backend.read("www.elsewhere.test", "A")


def test_nonsense_is_never_written(bench: Bench) -> None:
    old = read(bench)
    first, *others = old.members
    for bad in (
        replace(old, members=()),
        replace(old, members=tuple(replace(m, weight=0.0) for m in old.members)),
        replace(old, members=(replace(first, weight=-1.0), *others)),
        replace(old, members=(replace(first, values=("us.shop.test",)), *others)),
    ):
        with pytest.raises(Permanent):
            bench.backend.swap(old, bad)
    assert read(bench) == old


def test_a_step_is_carried_out_once_and_leaves_a_changed_world_alone(bench: Bench) -> None:
    old = read(bench)
    made = dns_step("main", old, changed(old), stage=1, summary="eu gives up its traffic")
    step = Step(**json.loads(json.dumps({**_fields(made), "key": "k"})))
    switch = DnsSwitch({"main": bench.backend})
    assert switch.inspect(step) is StepState.PENDING
    switch.perform(step)
    switch.perform(step)
    await_spread(bench, changed(old))
    assert switch.inspect(step) is StepState.DONE
    bench.interfere()
    if read(bench) == old:  # two pools of a balancer have only two orders
        return
    assert switch.inspect(step) is StepState.MOVED_ON
    with pytest.raises(Conflict):
        switch.perform(step)


def _fields(step: Step) -> dict[str, object]:
    return {
        "actuator": step.actuator,
        "target": dict(step.target),
        "expected": dict(step.expected),
        "desired": dict(step.desired),
    }
