"""The life of a train: what must never happen, by random stories; and what must, by short ones."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from analyzer.events import ActFailed, Announce, Approved, AskApproval, PlanRefused, Rejected
from analyzer.policy import Mode
from analyzer.trains.events import (
    Continued,
    Departed,
    Halted,
    Looked,
    NotBegun,
    NotTakenBack,
    PlanRelease,
    Recalled,
    Release,
    Released,
    ReleasePlanned,
    Seen,
    Sight,
    TakeBack,
    TakenBack,
    TrainCommand,
    TrainEvent,
)
from analyzer.trains.life import Train, TrainPhase, step, waiting
from analyzer.trains.policy import OnFailure, TrainPolicy

ROUTE = ("eu", "us", "ap")
POLICY = TrainPolicy(
    Mode.ENFORCE, OnFailure.ROLL_BACK, soak_s=60, begin_within_s=300, blind_after_s=100
)
NEW = waiting("shop", ROUTE, 0.0)
GO = Departed("abc", "eu/abc", 1.0, ((), (), ()))


def seen(*sights: Sight) -> Looked:
    """Return a look; regions that are not said are not seen yet."""
    every = (*sights, *[Sight.NOT_YET] * (len(ROUTE) - len(sights)))
    return Looked(
        tuple(
            Seen(s, "" if s is Sight.NOT_YET else f"{region}/abc", s.value)
            for region, s in zip(ROUTE, every, strict=True)
        )
    )


WELL, BAD, BLIND = Sight.HEALTHY, Sight.FAILED, Sight.UNSEEN


def run(
    train: Train, *story: tuple[float, TrainEvent], policy: TrainPolicy = POLICY
) -> tuple[Train, tuple[TrainCommand, ...]]:
    commands: tuple[TrainCommand, ...] = ()
    for now, event in story:
        train, commands = step(train, event, policy, now)
    return train, commands


FIRST_WELL = run(NEW, (2, GO), (10, seen(WELL)))[0]
TO_US = run(FIRST_WELL, (70, seen(WELL)), (71, ReleasePlanned("p1", "start us")))[0]
IN_US = run(TO_US, (72, Released("p1")))[0]


def test_a_release_travels_from_region_to_region() -> None:
    assert (FIRST_WELL.phase, FIRST_WELL.place) == (TrainPhase.SOAKING, 0)
    assert run(FIRST_WELL, (69, seen(WELL)))[1] == ()
    assert run(FIRST_WELL, (70, seen(WELL)))[1] == (PlanRelease(1),)
    assert TO_US.phase is TrainPhase.RELEASING
    assert run(TO_US, (72, seen(WELL)))[1] == (Release("p1", clear=True),)
    assert (IN_US.phase, IN_US.place) == (TrainPhase.JUDGING, 1)
    soaking, _ = run(IN_US, (80, seen(WELL, Sight.JUDGING)), (90, seen(WELL, WELL)))
    assert soaking.stops[1].watch_id == "us/abc"
    arrived, commands = run(
        soaking,
        (150, seen(WELL, WELL)),
        (151, ReleasePlanned("p2", "start ap")),
        (152, Released("p2")),
        (160, seen(WELL, WELL, WELL)),
    )
    assert arrived.phase is TrainPhase.ARRIVED
    assert [type(c) for c in commands] == [Announce]
    assert run(arrived, (999, seen(BAD, BAD, BAD))) == (arrived, ())


def test_a_failure_stops_everything_and_what_has_the_release_goes_back_the_last_one_first() -> (
    None
):
    late, _ = run(
        IN_US,
        (90, seen(WELL, WELL)),
        (150, ReleasePlanned("p2", "start ap")),
        (152, Released("p2")),
        (160, seen(WELL, WELL, BAD)),
    )
    assert late.phase is TrainPhase.TAKING_BACK
    assert run(late, (161, seen(WELL, WELL, BAD)))[1] == (TakeBack(1),)
    half, _ = run(late, (162, TakenBack(1, "back")))
    assert run(half, (163, seen()))[1] == (TakeBack(0),)
    done, _ = run(half, (164, TakenBack(0, "back")), (165, seen()))
    assert done.phase is TrainPhase.TAKEN_BACK
    stuck, commands = run(half, (164, NotTakenBack(0, "a migration stands in the way")))
    assert stuck.phase is TrainPhase.NEEDS_HUMAN
    assert any(isinstance(c, Announce) and c.urgent for c in commands)
    assert run(stuck, (200, seen(WELL, WELL, BAD))) == (stuck, ())
    assert run(stuck, (300, Continued("ann")))[0].phase is TrainPhase.TAKING_BACK


def test_what_follows_a_failure_is_for_the_policy() -> None:
    failing = (80, seen(WELL, BAD))
    stop = replace(POLICY, on_failure=OnFailure.STOP)
    assert run(IN_US, failing, policy=stop)[0].phase is TrainPhase.STOPPED
    asking, commands = run(IN_US, failing, policy=replace(POLICY, mode=Mode.APPROVE))
    assert asking.phase is TrainPhase.AWAITING_RETURN
    assert AskApproval(asking.plan_key) in commands
    yes, no = Approved(asking.plan_key, "ann"), Rejected(asking.plan_key, "ann")
    assert run(asking, (81, yes))[0].phase is TrainPhase.TAKING_BACK
    assert run(asking, (81, no))[0].phase is TrainPhase.STOPPED
    watching = replace(POLICY, mode=Mode.OBSERVE)
    assert run(IN_US, failing, policy=watching)[0].phase is TrainPhase.STOPPED
    first, _ = run(NEW, (2, GO), (10, seen(BAD)))
    assert first.phase is TrainPhase.STOPPED  # nobody else has it


def test_blindness_holds_and_is_told_once() -> None:
    blind, commands = run(FIRST_WELL, (70, seen(BLIND)))
    assert (blind.phase, commands) == (TrainPhase.SOAKING, ())
    told, commands = run(blind, (170, seen(BLIND)))
    assert [c.urgent for c in commands if isinstance(c, Announce)] == [True]
    assert run(told, (270, seen(BLIND))) == (told, ())
    assert run(told, (271, seen(WELL)))[1] == (PlanRelease(1),)
    held, commands = run(TO_US, (72, seen(BLIND)))
    assert commands == (Release("p1", clear=False),)
    assert run(held, (73, NotBegun("p1")))[0].phase is TrainPhase.SOAKING
    judged, commands = run(IN_US, (5000, seen(BLIND, BLIND)))
    assert (judged.phase, commands) == (TrainPhase.JUDGING, ())


def test_a_region_without_a_verdict_needs_somebody_who_vouches() -> None:
    unclear, _ = run(IN_US, (90, seen(WELL, Sight.UNDECIDED)))
    assert unclear.phase is TrainPhase.NEEDS_HUMAN
    vouched, _ = run(unclear, (100, Continued("ann")))
    assert (vouched.phase, vouched.here.vouched_by) == (TrainPhase.SOAKING, "ann")
    assert run(vouched, (160, seen(WELL, Sight.UNDECIDED)))[1] == (PlanRelease(2),)
    assert run(vouched, (160, seen(Sight.UNDECIDED, Sight.UNDECIDED)))[1] == ()


def test_a_region_that_shows_nothing_of_it_calls_people() -> None:
    assert run(IN_US, (371, seen(WELL)))[0].phase is TrainPhase.JUDGING
    late, _ = run(IN_US, (372, seen(WELL)))
    assert late.phase is TrainPhase.NEEDS_HUMAN
    again, _ = run(late, (400, Continued("ann")), (699, seen(WELL)))
    assert again.phase is TrainPhase.JUDGING


def test_approve_asks_for_each_region_and_observe_only_says() -> None:
    policy = replace(POLICY, mode=Mode.APPROVE)
    asking, commands = run(FIRST_WELL, (70, ReleasePlanned("p1", "start us")), policy=policy)
    assert commands == (AskApproval("p1"),)
    assert run(asking, (71, Approved("old", "ann")), policy=policy) == (asking, ())
    assert run(asking, (71, Approved("p1", "ann")), policy=policy)[0].phase is (
        TrainPhase.RELEASING
    )
    assert run(asking, (71, Rejected("p1", "ann")), policy=policy)[0].phase is TrainPhase.STOPPED
    late = (70 + policy.approval_expires_s, Approved("p1", "ann"))
    assert run(asking, late, policy=policy)[0].phase is TrainPhase.NEEDS_HUMAN
    watching = replace(POLICY, mode=Mode.OBSERVE)
    said, commands = run(FIRST_WELL, (70, ReleasePlanned("p1", "start us")), policy=watching)
    assert (said.phase, said.place) == (TrainPhase.JUDGING, 1)
    assert [type(c) for c in commands] == [Announce]
    # nobody promised when a person releases it
    assert run(said, (9999, seen(WELL)), policy=watching)[0].phase is TrainPhase.JUDGING


def test_a_newer_release_ends_the_train_and_begins_the_next() -> None:
    over, _ = run(IN_US, (80, seen(Sight.OVERTAKEN)))
    assert over.phase is TrainPhase.STOPPED
    assert run(over, (81, GO)) == (over, ())  # the same again is no new release
    newer = Departed("def", "eu/def", 79.0, ((), ("us/abc",), ()))
    begun, _ = run(over, (82, newer))
    assert (begun.phase, begun.number, begun.release) == (TrainPhase.JUDGING, 2, "def")
    assert begun.stops[1].before == ("us/abc",)
    assert not any(stop.passed for stop in begun.stops)


def test_who_stops_a_train_while_a_region_is_released_is_told_what_became_of_it() -> None:
    stopped, _ = run(TO_US, (72, Halted("ann")))
    assert stopped.phase is TrainPhase.STOPPED
    told, commands = run(stopped, (73, Released("p1")))
    assert told.phase is TrainPhase.STOPPED
    assert "us was being released already" in told.note
    assert commands
    assert run(told, (74, seen(WELL))) == (told, ())


def test_a_person_takes_back_what_is_kept_and_only_when_it_is_known_what_that_is() -> None:
    back = Recalled("ann")
    for judged in (IN_US, TO_US, run(NEW, (2, GO))[0], NEW):
        assert run(judged, (80, back)) == (judged, ())
    stopped, _ = run(IN_US, (80, Halted("ann")))
    going, _ = run(stopped, (81, back))
    assert (going.phase, going.to_take_back) == (TrainPhase.TAKING_BACK, (0,))
    unclear, _ = run(IN_US, (90, seen(WELL, Sight.UNDECIDED)))
    both, _ = run(unclear, (91, back))
    assert both.to_take_back == (0, 1)  # nobody vouched for us, and it has the release
    assert run(FIRST_WELL, (20, back))[0].phase is TrainPhase.TAKING_BACK
    done, _ = run(going, (82, TakenBack(0, "back")), (83, seen()))
    assert (done.phase, "recalled by ann" in done.note) == (TrainPhase.TAKEN_BACK, True)
    assert run(done, (84, back)) == (done, ())


KEYS = st.sampled_from(["p1", "p2"])
PLACES = st.integers(0, 2)
SIGHTS = st.sampled_from([*Sight, Sight.HEALTHY, Sight.HEALTHY, Sight.HEALTHY])
LOOKS = st.builds(seen, SIGHTS, SIGHTS, SIGHTS)
EVENTS = st.one_of(
    LOOKS,
    LOOKS,
    LOOKS,
    st.builds(ReleasePlanned, st.sampled_from(["p1", "p2", ""]), st.just("x")),
    st.builds(PlanRefused, st.just(("no",))),
    st.builds(Approved, KEYS, st.just("ann")),
    st.builds(Rejected, KEYS, st.just("ann")),
    st.builds(Released, KEYS),
    st.builds(NotBegun, KEYS),
    st.builds(ActFailed, KEYS, st.just("x"), st.booleans()),
    st.builds(TakenBack, PLACES, st.just("x")),
    st.builds(NotTakenBack, PLACES, st.just("x")),
    st.builds(Halted, st.just("ann")),
    st.builds(Continued, st.just("ann")),
    st.builds(Recalled, st.just("ann")),
)
STORIES = st.lists(st.tuples(st.floats(0, 100), EVENTS), max_size=80)
MODES = st.sampled_from(Mode)
Told = list[tuple[Train, TrainEvent, Train, tuple[TrainCommand, ...]]]


def told(story: list[tuple[float, TrainEvent]], mode: Mode) -> Told:
    """Run a story of one train; answers name the plan in force when there is one."""
    policy, now, out = replace(POLICY, mode=mode), 2.0, Told()
    train, _ = step(NEW, GO, policy, now)
    for pause, event in story:
        now += pause
        said = event
        if isinstance(event, Released | Approved) and train.plan_key:
            said = replace(event, plan_key=train.plan_key)
        after, commands = step(train, said, policy, now)
        out.append((train, said, after, commands))
        train = after
    return out


def releases(command: TrainCommand) -> bool:
    return isinstance(command, PlanRelease) or (isinstance(command, Release) and command.clear)


@given(STORIES, MODES)
def test_a_region_is_released_only_when_every_one_before_it_is_healthy_now_and_was_judged(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    for before, event, _, commands in told(story, mode):
        if not any(map(releases, commands)):
            continue
        assert isinstance(event, Looked)
        for stop, now in zip(before.stops, event.seen[: before.place + 1], strict=False):
            assert stop.passed
            vouched = bool(stop.vouched_by) and now.sight is Sight.UNDECIDED
            assert now.sight is Sight.HEALTHY or vouched


@given(STORIES, MODES)
def test_a_region_passes_only_by_a_verdict_or_a_person(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    for before, event, after, _ in told(story, mode):
        for place, (was, is_) in enumerate(zip(before.stops, after.stops, strict=True)):
            if is_.passed and not was.passed:
                judged = isinstance(event, Looked) and event.seen[place].sight is Sight.HEALTHY
                assert judged or isinstance(event, Continued)


@given(STORIES, MODES)
def test_regions_come_one_by_one_in_order_and_none_is_forgotten(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    for before, _, after, _ in told(story, mode):
        assert after.place - before.place in {0, 1}
        assert after.release == "abc"
        if after.place > before.place:
            assert all(stop.passed for stop in after.stops[: after.place])
        if after.phase is TrainPhase.ARRIVED:
            assert all(stop.passed for stop in after.stops)
        if after.phase is TrainPhase.TAKEN_BACK:
            kept = [stop for stop in after.stops if stop.passed and stop.failed_at is None]
            assert all(stop.taken_back_at for stop in kept)


@given(STORIES, MODES)
def test_after_a_failure_nothing_is_released(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    failed = False
    for before, event, after, commands in told(story, mode):
        if failed:
            assert not any(isinstance(c, PlanRelease | Release) for c in commands)
            assert after.place == before.place
        failed = failed or bool(after.failed)
        if isinstance(event, Looked) and event.seen[before.place].sight is Sight.FAILED:
            judging = before.phase in {TrainPhase.JUDGING, TrainPhase.SOAKING}
            assert after.failed or not judging or after.phase is TrainPhase.STOPPED


@given(STORIES, MODES)
def test_only_a_failure_or_a_person_takes_anything_back(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    asked = False
    for before, event, after, commands in told(story, mode):
        if any(isinstance(c, TakeBack) for c in commands):
            assert before.failed
            assert asked or mode is not Mode.OBSERVE
        asked = asked or isinstance(event, Recalled | Continued)
        if after.failed and not before.failed and not isinstance(event, Recalled):
            assert isinstance(event, Looked)
            assert any(s.sight is Sight.FAILED for s in event.seen)


@given(STORIES, MODES)
def test_what_failed_is_left_to_its_own_daemon(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    for before, _, _, commands in told(story, mode):
        for command in commands:
            if isinstance(command, TakeBack):
                assert before.stops[command.place].failed_at is None


@given(STORIES, MODES)
def test_a_persons_word_counts_once_and_nothing_else_does(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    people = Approved | Rejected | Halted | Continued | Recalled
    for before, event, after, _ in told(story, mode):
        assert after.turn - before.turn in {0, 1}
        if after.turn > before.turn:
            assert isinstance(event, people)
        elif isinstance(event, Halted | Continued | Recalled):
            assert after == before


@given(STORIES)
def test_observe_never_acts_and_approve_never_without_a_person(
    story: list[tuple[float, TrainEvent]],
) -> None:
    asked = False
    for _, event, _, commands in told(story, Mode.OBSERVE):
        assert not any(isinstance(c, Release) for c in commands)
        assert asked or not any(isinstance(c, TakeBack) for c in commands)
        asked = asked or isinstance(event, Recalled)
    agreed: set[str] = set()
    for before, event, after, commands in told(story, Mode.APPROVE):
        if isinstance(event, Approved) and event.plan_key == before.plan_key:
            agreed.add(event.plan_key)
        if isinstance(event, Continued | Recalled):
            agreed.add(after.plan_key)
        for command in commands:
            if isinstance(command, Release):
                assert command.plan_key in agreed
            if isinstance(command, TakeBack):
                assert before.plan_key in agreed


@given(STORIES, MODES)
def test_what_is_over_stays_over_until_the_next_release(
    story: list[tuple[float, TrainEvent]], mode: Mode
) -> None:
    for before, event, after, _ in told(story, mode):
        if before.phase.over and not isinstance(event, Recalled):
            assert after.phase is before.phase
