"""People decide about trains by the door that rollouts have, and are told of them like rollouts."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner, Result

from analyzer.events import Approved, Rejected
from analyzer.policy import Mode
from analyzer.sample import Absence, Missing
from analyzer.trains.events import Seen, Sight, TrainWish
from analyzer.trains.life import Stop, Train, TrainPhase
from analyzer.trains.standing import StopState, stop_state
from rollbackd.cli import main
from rollbackd.config.settings import Deciders
from rollbackd.decisions import Answer, Decision, Decisions, Deed, Person, Verb, offer_key, offers
from rollbackd.http import BODIES, Doors, HttpServer, application
from rollbackd.notifiers.links import NO_LINKS, parts
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.pump import Pace, Pump
from rollbackd.notifiers.wording import Severity, headline, severity, summary
from rollbackd.slack import blocks
from rollbackd.trains.doors import (
    TrainOrder,
    WithdrawalOrder,
    train_routes,
    withdrawal_routes,
)
from rollbackd.trains.portrait import Glance, offered, policy_name, portray, train_of, view_id
from rollbackd.views import WatchView
from rollbackd.views_json import view_from_json
from rollbackd.withdrawals import State, Withdrawn
from tests.config.files import minimal, write
from tests.fakes.memory_journal import MemoryJournal
from tests.process.lifetime import TELEMETRY
from tests.trains.stub_github import StubGitHub
from tests.trains.test_conductor import POLICY, ROUTE, Life, World
from tests.web.described import conforms

ANN = Person("ann", "slack", "U1")
EVE = Person("eve", "slack", "U666")
ASKING = replace(POLICY, mode=Mode.APPROVE)


@dataclass
class Desk:
    """Decisions about the trains of one life."""

    life: Life
    deciders: Deciders = field(default_factory=lambda: Deciders(users=("U1",)))
    decisions: Decisions = field(init=False)
    withdrawals: list[tuple[str, str]] = field(default_factory=list)
    others: tuple[WatchView, ...] = ()

    def __post_init__(self) -> None:
        names = {policy_name("shop"): self.deciders}
        self.decisions = Decisions(
            views=lambda: (*self.others, *self.life.conductor.views()),
            handle=self.handle,
            deciders=lambda name: names.get(name, Deciders()),
            journal=self.life.journal,
            telemetry=TELEMETRY,
            now=lambda: self.life.world.at,
        )

    def handle(self, id_: str, deed: Deed) -> None:
        named = train_of(id_)
        assert named is not None
        assert isinstance(deed, Approved | Rejected | TrainWish)
        self.life.conductor.decided(*named, deed)

    def withdrawn(self, watch_id: str, by: str) -> Withdrawn:
        self.withdrawals.append((watch_id, by))
        return Withdrawn(State.UNDER_WAY, "on its way back")

    @property
    def shop(self) -> WatchView:
        return self.life.conductor.views()[0]

    def press(self, verb: Verb, by: Person = ANN, view: WatchView | None = None) -> Answer:
        pressed = offer_key(view or self.shop, verb)
        return self.decisions.press(pressed, verb, by).answer

    def asked(self) -> WatchView:
        """Let a release be healthy in the first region; return the view that asks for the next."""
        self.life.world.begin()
        self.life.world.regions["eu"].ends("healthy")
        self.life.until(TrainPhase.AWAITING_APPROVAL)
        return self.shop


@pytest.fixture
def world() -> Iterator[World]:
    with StubGitHub() as github:
        yield World(github)


@pytest.fixture
def desk(world: World) -> Iterator[Desk]:
    life = Life(world, MemoryJournal(), ASKING)
    yield Desk(life)
    life.end()


def test_a_press_lets_the_next_region_be_released_once(world: World, desk: Desk) -> None:
    before = desk.asked()
    assert offers(before) == (Verb.APPROVE, Verb.REJECT, Verb.TAKE_BACK)
    assert desk.press(Verb.APPROVE) is Answer.TAKEN
    assert desk.press(Verb.APPROVE, view=before) is Answer.STALE  # delivered twice
    desk.life.until(TrainPhase.JUDGING)
    assert world.github.dispatched("us") == 1
    assert desk.press(Verb.TAKE_BACK, view=before) is Answer.STALE
    said = [e.data["decision"] for e in desk.life.journal.entries(kinds=frozenset({"decision"}))]
    assert said == ["approve"]
    assert offers(desk.shop) == (Verb.STOP,)


def test_who_is_not_named_decides_nothing(world: World, desk: Desk) -> None:
    desk.asked()
    theirs = Person("eve", "http", "eve", may_decide=lambda *_: False)
    for verb in (Verb.APPROVE, Verb.REJECT, Verb.TAKE_BACK):
        assert desk.press(verb, EVE) is Answer.FORBIDDEN
        assert desk.press(verb, theirs) is Answer.FORBIDDEN
    desk.life.tick()
    assert desk.life.train.phase is TrainPhase.AWAITING_APPROVAL
    assert world.github.runs == []


def test_with_four_eyes_the_author_of_the_release_does_not_decide(world: World) -> None:
    life = Life(world, MemoryJournal(), ASKING)
    desk = Desk(life, Deciders(users=("U1", "U2"), four_eyes=True))
    world.begin()
    first = world.regions["eu"].watches_
    first[-1] = replace(
        first[-1], annotations={**first[-1].annotations, "rollbackd.io/author": "U1"}
    )
    world.regions["eu"].ends("healthy")
    life.until(TrainPhase.AWAITING_APPROVAL)
    assert desk.press(Verb.APPROVE, ANN) is Answer.FORBIDDEN
    assert desk.press(Verb.APPROVE, Person("bob", "slack", "U2")) is Answer.TAKEN
    life.end()


def test_an_approval_is_bound_to_what_was_seen_and_to_its_train(world: World, desk: Desk) -> None:
    seen = desk.asked()
    other = Decision(seen.id, Verb.APPROVE, ANN, "another plan", seen.turn)
    assert desk.decisions.decide(other).answer is Answer.STALE
    assert desk.press(Verb.REJECT) is Answer.TAKEN
    assert desk.shop.phase == "stopped"
    old = desk.shop
    assert offers(old) == (Verb.TAKE_BACK,)
    world.at += 10
    world.begin("def")
    desk.life.until(TrainPhase.JUDGING)
    assert desk.press(Verb.TAKE_BACK, view=old) is Answer.STALE
    assert desk.press(Verb.STOP, view=replace(old, id=view_id("shop", 7))) is Answer.STALE
    assert world.github.runs == []


@dataclass
class Ear:
    """A notifier that remembers what it was told."""

    told: list[WatchView] = field(default_factory=list)

    def tell(self, view: WatchView, memo: Memo) -> None:
        self.told.append(view)
        memo.keep(told=len(self.told))

    def close(self) -> None:
        """Hold nothing."""


def follow(desk: Desk, ear: Ear, **pace: float) -> Pump:
    return Pump(
        "ear",
        ear,
        journal=desk.life.journal,
        telemetry=TELEMETRY,
        now=lambda: desk.life.world.at,
        pace=Pace(**pace),  # type: ignore[arg-type]  # only what is a number
        live=desk.decisions.views,
    )


def test_every_step_of_a_train_is_told(world: World, desk: Desk) -> None:
    ear = Ear()
    pump = follow(desk, ear)
    pump.once()
    assert ear.told == []
    desk.asked()
    pump.once()
    desk.press(Verb.APPROVE)
    desk.life.until(TrainPhase.JUDGING)
    desk.life.tick()
    world.regions["us"].ends("degraded")
    desk.life.until(TrainPhase.AWAITING_RETURN)
    pump.once()
    asking = ear.told[-1]
    assert [stop.state for stop in asking.stops] == ["healthy", "failed", "waiting"]
    assert asking.stops[1].text == "degraded: the test says degraded"
    assert severity(asking) is Severity.CRITICAL
    desk.press(Verb.APPROVE)
    desk.life.until(TrainPhase.TAKEN_BACK)
    pump.once()
    last = ear.told[-1]
    assert last.final
    assert [stop.state for stop in last.stops] == ["taken back", "failed", "not released"]
    course = [item.text.partition(":")[0] for item in last.timeline]
    assert course == [
        "judging", "soaking", "awaiting approval", "releasing", "judging",
        "awaiting approval to roll back", "rolling back", "eu is back", "rolled back",
    ]  # fmt: skip
    assert len({view.id for view in ear.told}) == 1
    world.at += 10
    world.begin("def")
    desk.life.until(TrainPhase.JUDGING)
    pump.once()
    assert ear.told[-1].id == view_id("shop", 2)
    assert [item.text.partition(":")[0] for item in ear.told[-1].timeline] == ["judging"]
    pump.close()


def test_who_hears_only_of_trouble_hears_of_a_train_when_somebody_should_look(
    world: World, desk: Desk
) -> None:
    ear = Ear()
    pump = follow(desk, ear, only_trouble=True)
    pump.once()
    world.begin()
    desk.life.until(TrainPhase.JUDGING)
    pump.once()
    assert ear.told == []
    world.regions["eu"].ends("healthy")
    desk.life.until(TrainPhase.AWAITING_APPROVAL)
    pump.once()
    assert [view.phase for view in ear.told] == ["awaiting approval"]
    pump.close()


def test_a_message_grows_while_a_region_is_judged(world: World, desk: Desk) -> None:
    ear = Ear()
    pump = follow(desk, ear, refresh_s=60, gap_s=0)
    pump.once()
    world.begin()
    desk.life.until(TrainPhase.JUDGING)
    pump.once()
    count = len(ear.told)
    first = world.regions["eu"].watches_
    first[-1] = replace(first[-1], note="evidence 3 of 200")
    desk.life.tick(61)
    pump.once()
    assert [view.stops[0].text for view in ear.told[count:]] == ["evidence 3 of 200"]
    desk.life.tick(61)
    pump.once()
    assert len(ear.told) == count + 1  # nothing new to say
    pump.close()


def test_blindness_is_told_and_shown(world: World, desk: Desk) -> None:
    world.begin()
    desk.life.until(TrainPhase.JUDGING)
    world.regions["eu"].down = Missing(Absence.SOURCE_DOWN, "no answer")
    desk.life.tick()
    desk.life.tick(400)
    view = desk.shop
    assert view.stops[0].text == "not seen now: source down: no answer"
    assert (view.hold, severity(view)) == ("a region cannot be seen", Severity.WARNING)
    assert "holding: not seen for" in view.timeline[-1].text
    world.regions["eu"].down = None
    desk.life.tick()
    assert (desk.shop.hold, severity(desk.shop)) == ("", Severity.INFO)


def test_after_a_restart_the_course_goes_on_and_an_old_button_still_decides_once(
    world: World, desk: Desk
) -> None:
    before = desk.asked()
    journal = MemoryJournal(tuple(desk.life.journal.entries()))
    again = Desk(Life(world, journal, ASKING))
    after = again.shop
    assert (after.timeline, after.turn, after.phase) == (
        before.timeline,
        before.turn,
        before.phase,
    )
    assert after.annotations == before.annotations
    assert again.press(Verb.APPROVE, view=before) is Answer.TAKEN
    assert again.press(Verb.APPROVE, view=before) is Answer.STALE
    again.life.end()


def test_the_watch_of_each_region_is_linked(desk: Desk) -> None:
    view = desk.asked()
    eu, us, _ = view.stops
    assert eu.url == f"https://eu.example/watches/{eu.watch_id}"
    assert us.url == ""
    sections = [b for b in blocks.message(view, NO_LINKS) if b["type"] == "section"]
    assert any(f"<{eu.url}|watch>" in section["text"]["text"] for section in sections)


def test_what_the_journal_keeps_is_what_was_shown(desk: Desk) -> None:
    desk.asked()
    (*_, last) = desk.life.journal.entries(kinds=frozenset({"train-view"}))
    assert view_from_json(last.data) == desk.shop
    assert last.watch_id == desk.shop.id


STOPS = (
    Stop("eu", "eu/7", released_at=1.0, healthy_at=2.0),
    Stop("us", "us/7", released_at=3.0),
    Stop("ap"),
)
SEEN = (
    Seen(Sight.HEALTHY, "eu/7", "fine"),
    Seen(Sight.JUDGING, "us/7", "so far"),
    Seen(Sight.NOT_YET),
)


@pytest.mark.parametrize("phase", TrainPhase)
@pytest.mark.parametrize("failed", ["", "us: worse"], ids=["well", "failed"])
def test_every_phase_has_its_words_and_its_buttons(phase: TrainPhase, failed: str) -> None:
    stops = STOPS
    if failed:
        stops = (STOPS[0], replace(STOPS[1], failed_at=4.0), STOPS[2])
    train = Train("shop", 5.0, stops, phase, "why", 1, "abc", 1.0, 3, "k", failed=failed)
    view = portray(train, POLICY, Glance(SEEN, lambda r, w: f"/{r}/{w}"), ())
    assert view.id == view_id("shop", 3)
    assert train_of(view.id) == ("shop", 3)
    assert parts(view)["name"] == "shop"
    assert phase.value not in headline(view) or phase is TrainPhase.STOPPED
    going = "going back" if phase is TrainPhase.TAKING_BACK else "healthy"
    for line in (f"1. eu: {going}", "abc over eu, us, ap"):
        assert line in summary(view)
    assert offers(view) == offered(train)
    assert (Verb.TAKE_BACK in offers(view)) is train.can_be_recalled
    if phase.waits or phase is TrainPhase.NEEDS_HUMAN:
        assert len(offers(view)) >= 2
        assert severity(view) is not Severity.INFO
    message = blocks.message(view, NO_LINKS)
    shown = [e["action_id"] for b in message if b["type"] == "actions" for e in b["elements"]]
    assert shown == [f"decide:{verb.value}" for verb in offers(view)]
    assert "evidence" not in str(message)
    assert all(
        "{" not in e["confirm"]["text"]["text"]
        for b in message
        if b["type"] == "actions"
        for e in b["elements"]
        if "confirm" in e
    )


def test_how_a_region_stands_follows_from_the_train() -> None:
    train = Train("shop", 9.0, STOPS, TrainPhase.JUDGING, place=1, number=1)
    states = [stop_state(train, place) for place in range(3)]
    assert states == [
        (StopState.HEALTHY, 2.0),
        (StopState.JUDGING, 3.0),
        (StopState.WAITING, None),
    ]
    back = replace(train, phase=TrainPhase.TAKING_BACK, failed="us: worse")
    assert stop_state(back, 0) == (StopState.GOING_BACK, 9.0)
    over = replace(train, phase=TrainPhase.STOPPED)
    assert stop_state(over, 2) == (StopState.LEFT_OUT, None)
    releasing = replace(train, phase=TrainPhase.RELEASING)
    assert stop_state(releasing, 2) == (StopState.RELEASING, 9.0)


@pytest.mark.parametrize(
    "id_",
    ["", "shop", "c/shop/Deployment/web@7", "trains/route/Train/@1", "trains/route/Train/shop@x",
     "trains/route/Train/shop"],
)  # fmt: skip
def test_no_other_id_names_a_train(id_: str) -> None:
    assert train_of(id_) is None


# Over HTTP

TOKEN = "s3cret"
CLUSTER = {
    "anns-own-token": Person("ann", "http", "ann", may_decide=lambda *_: True),
    "eves-own-token": Person("eve", "http", "eve", may_decide=lambda *_: False),
}


@pytest.fixture
def url(desk: Desk) -> Iterator[str]:
    doors = Doors(
        views=tuple,
        metrics=lambda: b"",
        unready=lambda: "",
        decide=desk.decisions.decide,
        release=desk.decisions.release,
        objection=desk.decisions.objection,
        token=lambda: TOKEN,
        cluster=lambda token, _via: CLUSTER.get(token),
    )
    routes = train_routes(desk.life.conductor, doors, lambda: None)
    routes += withdrawal_routes(desk.withdrawn, doors)
    bodies = replace(BODIES, orders={"train": TrainOrder}, withdrawal=WithdrawalOrder)
    server = HttpServer(application(doors, routes, bodies), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}/api/v1"
    server.close()


def order(url: str, token: str, **body: object) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    wanted = {"train": "shop", "by": "ann", **body}
    return requests.post(f"{url}/trains", json=wanted, headers=headers, timeout=10)


def test_a_train_has_the_shape_of_everything_that_is_watched(desk: Desk, url: str) -> None:
    desk.asked()
    (found,) = requests.get(f"{url}/trains", timeout=10).json()
    assert view_from_json(found) == desk.shop
    told = (found["name"], found["release"], found["number"], found["place"])
    assert told == ("shop", "abc", 1, 0)


def test_whoever_may_decide_may_order_over_http(world: World, desk: Desk, url: str) -> None:
    seen = desk.asked()
    plan = {"wish": "approve", "plan": seen.plan_key}
    assert order(url, "wrong-token", **plan).status_code == 403
    refused = order(url, "eves-own-token", **plan)
    assert (refused.status_code, "does not let eve" in refused.json()["error"]) == (403, True)
    assert order(url, TOKEN, wish="approve", plan="another").status_code == 409
    assert order(url, TOKEN, wish="continue").status_code == 409
    assert order(url, TOKEN, wish="approve", plan=seen.plan_key, turn=7).status_code == 409
    assert order(url, TOKEN, train="cart", wish="stop").status_code == 404
    assert order(url, TOKEN, wish="fly").status_code == 422
    assert world.github.runs == []
    taken = order(url, "anns-own-token", **plan)
    assert (taken.status_code, taken.json()["phase"]) == (200, "releasing")
    assert order(url, "anns-own-token", **plan).status_code == 409  # a second click
    desk.life.until(TrainPhase.JUDGING)
    assert world.github.dispatched("us") == 1
    assert order(url, TOKEN, wish="stop").json()["note"] == "stopped by ann"
    desk.life.tick()
    said = order(url, TOKEN, wish="take back").json()
    assert (said["phase"], said["note"]) == ("rolling back", "ann wants it back; going back in eu")


def test_a_train_that_waits_is_stopped_by_a_no(desk: Desk, url: str) -> None:
    seen = desk.asked()
    assert order(url, TOKEN, wish="stop", plan=seen.plan_key).json()["phase"] == "stopped"


def test_the_general_door_takes_it_too(desk: Desk, url: str) -> None:
    seen = desk.asked()
    body = {"watch": seen.id, "decision": "take back", "plan": seen.plan_key, "turn": seen.turn}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.post(
        f"{url}/decisions", json={**body, "by": "ann"}, headers=headers, timeout=10
    )
    assert (answer.status_code, answer.json()["phase"]) == (200, "rolling back")


def test_nobody_decides_by_a_route_that_is_none(world: World, desk: Desk) -> None:
    desk.asked()
    assert desk.life.conductor.decided("shop", 2, Approved(desk.shop.plan_key, "ann")) is False
    assert desk.life.train.phase is TrainPhase.AWAITING_APPROVAL
    assert set(world.regions) == set(ROUTE)


def test_a_release_is_taken_back_for_whoever_may_decide(desk: Desk, url: str) -> None:
    about = desk.asked().id

    def withdraw(token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        body = {"watch": about, "by": "train shop"}
        return requests.post(f"{url}/withdrawals", json=body, headers=headers, timeout=10)

    assert withdraw("wrong-token").status_code == 403
    assert withdraw("eves-own-token").status_code == 403
    assert desk.withdrawals == []
    assert withdraw(TOKEN).status_code == 202
    assert withdraw("anns-own-token").status_code == 202
    # whom the cluster knows is named by it
    assert desk.withdrawals == [(about, "train shop"), (about, "ann")]


def test_every_answer_is_as_described(desk: Desk, url: str) -> None:
    desk.asked()
    assert conforms(f"{url}/openapi.json", TOKEN) == 7


# On the command line


@pytest.fixture
def config(url: str, tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    regions: list[dict[str, object]] = [{"name": "eu", "workload": "shop/web"}]
    regions += [
        {"name": region, "workload": "shop/web", "daemon": {"url": f"http://{region}:9469"}}
        for region in ROUTE[1:]
    ]
    listen = url.removeprefix("http://").partition("/")[0]
    http = {"listen": listen, "token_file": "token"}
    train = {"name": "shop", "regions": regions}
    return write(tmp_path, minimal() | {"http": http, "trains": [train]})


def typed(config: Path, *words: str, answer: str = "", **environment: str) -> Result:
    command = ["train", *words, "--config", str(config)]
    return CliRunner(env=environment).invoke(main, command, input=answer)


def test_the_command_line_shows_where_a_train_is(desk: Desk, config: Path) -> None:
    desk.asked()
    shown = typed(config, "show").stdout
    for line in ("shop: awaiting approval abc", "✓ eu healthy for", "· us waiting", "plan "):
        assert line in shown
    desk.press(Verb.REJECT)
    assert "you may: take back" in typed(config, "show").stdout


def test_the_command_line_decides_with_ones_own_token_first(desk: Desk, config: Path) -> None:
    desk.asked()
    refused = typed(config, "approve", "shop", answer="y\n", ROLLBACKD_TOKEN="eves-own-token")
    assert "the cluster does not let eve decide" in refused.stderr
    assert desk.shop.phase == "awaiting approval"
    agreed = typed(config, "approve", "shop", answer="y\n", ROLLBACKD_TOKEN="anns-own-token")
    assert "shop: releasing: approved by ann" in agreed.stdout
    assert typed(config, "stop", "shop", "--by", "bob").exit_code == 0
    desk.life.tick()
    back = typed(config, "take-back", "shop", "--by", "bob")
    assert "rolling back: bob wants it back; going back in eu" in back.stdout, back.output
