"""``wait``: the exit code says how a rollout ended, and nothing but *healthy* is success."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from analyzer.watch import Phase
from rollbackd.choice import NoSuchWatch
from rollbackd.cli import main
from rollbackd.cli.wait import REMIND_S, Ending, Vigil, Waited, Wanted, ending
from rollbackd.cli.watches import Watches
from rollbackd.views import WatchView
from tests.cli.sample_views import blind, degraded, healthy
from tests.cli.test_watches import NOBODY, daemon

UNDER_WAY = replace(degraded(), phase="observing", verdict="inconclusive")
OVER = replace(UNDER_WAY, phase="healthy", verdict="healthy", final=True)
BEFORE = replace(OVER, id="production/shop/Deployment/checkout@old", canary="old", started_at=1.0)
Look = tuple[WatchView, ...] | str
"""What a look finds; a text stands for a daemon that does not answer, and says why."""


@dataclass
class Bench:
    """A daemon that answers by a script, the last answer for ever, and a clock that it moves."""

    looks: Iterator[Look]
    at: float = 0.0
    said: list[str] = field(default_factory=list)

    def look(self) -> Watches:
        found = next(self.looks)
        if isinstance(found, str):
            raise click.ClickException(found)
        return Watches(found, "here", live=True)

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.at += seconds


def waited(
    *looks: Look, wanted: Wanted | None = None, timeout_s: float = 600.0, appear_s: float = 60.0
) -> tuple[Waited, Bench]:
    bench = Bench(chain(looks, repeat(looks[-1])))
    vigil = Vigil(
        bench.look,
        wanted or Wanted("shop/checkout"),
        timeout_s,
        appear_s,
        bench.said.append,
        lambda: bench.at,
        bench.pause,
    )
    return vigil.run(), bench


@pytest.mark.parametrize("phase", list(Phase))
def test_only_healthy_is_success_and_only_the_end_is_an_answer(phase: Phase) -> None:
    found = ending(replace(UNDER_WAY, phase=phase.value, final=phase.final))
    assert (found is Ending.HEALTHY) is (phase is Phase.HEALTHY)
    assert (found is None) is not phase.final
    bad = phase in {Phase.ROLLED_BACK, Phase.REPORTED, Phase.NEEDS_HUMAN}
    assert (found is Ending.BAD) is bad


def test_it_waits_until_the_rollout_is_seen_and_decided() -> None:
    answer, bench = waited((), (blind(),), (UNDER_WAY,), (UNDER_WAY, blind()), (OVER,))
    assert answer.ending is Ending.HEALTHY
    assert answer.view == OVER
    assert bench.said[0] == "waiting for a rollout of shop/checkout"
    assert "shop/checkout  5d9f1 → 7c4b9: observing, inconclusive" in bench.said[1]
    assert len(bench.said) == 2  # the same is not said again at each look


def test_an_earlier_release_that_was_healthy_is_no_answer() -> None:
    answer, _ = waited((BEFORE,), (UNDER_WAY, BEFORE), (OVER, BEFORE))
    assert answer.view == OVER
    never, _ = waited((BEFORE,))
    assert never.ending is Ending.UNSEEN
    assert "did the deployment change the pod template?" in never.text


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(BEFORE.id),
        Wanted("checkout", revision="old"),
        Wanted("checkout", commit="0123456789abcdef"),
        Wanted("checkout", commit="0123456"),
    ],
    ids=["id", "revision", "commit", "short commit"],
)
def test_a_rollout_that_is_named_may_be_over(wanted: Wanted) -> None:
    said = replace(BEFORE, annotations={"rollbackd.io/commit": "0123456789ABCDEF"})
    other = replace(UNDER_WAY, annotations={"rollbackd.io/commit": "f" * 16})
    answer, bench = waited((other, said), wanted=wanted)
    assert answer.view == said
    assert bench.at == 0.0


@pytest.mark.parametrize("commit", ["", "0", "012345"])
def test_a_commit_of_few_digits_names_nothing_but_itself(commit: str) -> None:
    said = replace(UNDER_WAY, annotations={"rollbackd.io/commit": commit})
    answer, _ = waited((said,), wanted=Wanted("checkout", commit="0123456789abcdef"))
    assert answer.ending is Ending.UNSEEN
    assert "commit 0123456789abcdef" in answer.text


def test_a_daemon_that_restarts_is_waited_for() -> None:
    answer, bench = waited((UNDER_WAY,), "nothing listens there", (), (OVER,))
    assert answer.ending is Ending.HEALTHY
    assert "nothing listens there" in bench.said


def test_a_daemon_that_never_answers_is_no_success() -> None:
    answer, _ = waited("nothing listens there")
    assert answer.ending is Ending.UNSEEN
    assert "nothing listens there" in answer.text


def test_time_is_up_while_it_still_goes_on() -> None:
    answer, bench = waited((UNDER_WAY,), timeout_s=601.0)
    assert answer.ending is Ending.TIMEOUT
    assert bench.at == 601.0
    assert answer.text.startswith("not decided in time: shop/checkout")
    assert len(bench.said) == 1 + 600 // REMIND_S  # silence is broken, or the connection may be


def test_nothing_is_waited_for_longer_than_was_asked() -> None:
    answer, bench = waited((), timeout_s=10.0, appear_s=300.0)
    assert answer.ending is Ending.UNSEEN
    assert bench.at == 10.0


def test_two_workloads_of_one_name_are_an_error() -> None:
    with pytest.raises(NoSuchWatch, match="say which"):
        waited((UNDER_WAY, replace(blind(), final=False)), wanted=Wanted("checkout"))


def test_a_name_is_not_a_part_of_a_name() -> None:
    worker = "production/shop/Deployment/checkout-worker@1"
    other = replace(OVER, id=worker, workload="shop/checkout-worker")
    answer, _ = waited((), (other,), wanted=Wanted("checkout"))
    assert answer.ending is Ending.UNSEEN


LOOKS: st.SearchStrategy[Sequence[Look]] = st.lists(
    st.one_of(
        st.just("away"),
        st.lists(
            st.builds(
                lambda phase, canary: replace(
                    UNDER_WAY,
                    id=f"production/shop/Deployment/checkout@{canary}",
                    canary=canary,
                    phase=phase.value,
                    final=phase.final,
                ),
                st.sampled_from(list(Phase)),
                st.sampled_from(["a", "b", "c"]),
            ),
            max_size=3,
            unique_by=lambda view: view.id,
        ).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


@given(LOOKS)
def test_success_means_that_a_rollout_was_seen_healthy_after_the_beginning(
    looks: Sequence[Look],
) -> None:
    answer, _ = waited(*looks, timeout_s=60.0)
    if answer.ending is Ending.HEALTHY:
        first = next(look for look in looks if not isinstance(look, str))
        was_over = {view.id for view in first if view.final}
        assert answer.view is not None
        assert answer.view.id not in was_over
        assert answer.view.phase == "healthy"


# The command


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["wait", *arguments])


@pytest.mark.parametrize(
    ("phase", "code"),
    [("healthy", 0), ("rolled back", 3), ("reported", 3), ("needs a human", 3),
     ("inconclusive", 4), ("superseded", 4)],
)  # fmt: skip
def test_the_exit_code_is_the_answer(phase: str, code: int) -> None:
    view = replace(OVER, phase=phase, note="because")
    with daemon((view, healthy())) as url:
        result = run(view.id, "--url", url)
    assert result.exit_code == code, result.output
    assert f"{phase}, healthy" in result.stdout
    assert "because" in result.stdout
    assert "  • errors 4.1 %" in result.stdout


def test_json_is_what_the_api_answers() -> None:
    with daemon((OVER,)) as url:
        result = run(OVER.id, "--url", url, "--json")
    assert result.exit_code == 0
    assert result.stdout.startswith('{"id": "production/shop/Deployment/checkout@7c4b9"')
    assert result.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("shop/checkout", "--timeout", "0s"), 6, "no such rollout was seen: shop/checkout"),
        (("shop/checkout", "--url", NOBODY, "--timeout", "0s"), 6, "nothing listens there"),
        (("shop/checkout", "--timeout", "5"), 2, "the duration 5 has no unit"),
        (("checkout", "--commit", "x"), 6, "commit x"),
        (("checkout",), 1, "say which"),
    ],
    ids=["unseen", "nobody", "duration", "commit", "ambiguous"],
)
def test_what_cannot_be_answered_is_no_success(
    arguments: Sequence[str], code: int, says: str
) -> None:
    two = (UNDER_WAY, replace(blind(), final=False))
    views: Callable[[], tuple[WatchView, ...]] = lambda: () if code == 6 else two  # noqa: E731
    with daemon(views()) as url:
        result = run(
            *arguments, *(() if "--url" in arguments else ("--url", url)), "--appear", "0s"
        )
    assert result.exit_code == code, result.output
    assert says in result.output
