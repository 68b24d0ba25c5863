"""``rollbackd release``, against a daemon's HTTP server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from actions.ports import Transient
from rollbackd.cli import main
from rollbackd.decisions import Answer, Outcome, Person
from rollbackd.http import Doors, HttpServer, application
from rollbackd.releases import Released
from tests.cli import sample_views
from tests.config.files import minimal, write

VIEW = sample_views.degraded()
TOKEN = "s3cret"


@contextmanager
def daemon(answer: Released | Exception, folder: Path, token: str = TOKEN) -> Iterator[Path]:
    """Run a server that answers so, and yield the configuration that leads to it."""

    def release(watch_id: str, by: Person) -> Outcome:
        assert (watch_id, by.id) == (VIEW.id, "ann")
        if isinstance(answer, Exception):
            raise answer
        end = Answer.FAILED if answer.failed else Answer.TAKEN
        return Outcome(end, "", VIEW.phase, answer)

    doors = Doors(
        views=lambda: (VIEW,),
        metrics=lambda: b"",
        unready=lambda: "",
        decide=lambda _: Outcome(Answer.STALE, "nobody decides here"),
        release=release,
        token=lambda: TOKEN,
    )
    server = HttpServer(application(doors), "127.0.0.1", 0)
    server.start()
    (folder / "token").write_text(token, encoding="utf-8")
    values = minimal()
    values["http"] = {"listen": f"127.0.0.1:{server.port}", "token_file": "token"}
    try:
        yield write(folder, values)
    finally:
        server.close()


def run(config: Path) -> Result:
    command = ["release", "shop/checkout", "--by", "ann", "--config", str(config)]
    return CliRunner().invoke(main, command)


def test_what_was_let_go_is_told(tmp_path: Path) -> None:
    with daemon(Released(("put the sync back", "resumed")), tmp_path) as config:
        result = run(config)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "shop/checkout: put the sync back",
        "shop/checkout: resumed",
    ]


def test_nothing_to_let_go_is_no_error(tmp_path: Path) -> None:
    with daemon(Released(), tmp_path) as config:
        result = run(config)
    assert (result.exit_code, result.stdout) == (0, "shop/checkout: nothing is held\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Released(("one",), ("two was changed",)), "NOT done: two was changed"),
        (Transient("timeout"), "not all was let go, ask again: timeout"),
    ],
)
def test_what_failed_is_told(answer: Released | Exception, said: str, tmp_path: Path) -> None:
    with daemon(answer, tmp_path) as config:
        result = run(config)
    assert result.exit_code == 1
    assert said in result.stderr


def test_a_wrong_token_lets_nothing_go(tmp_path: Path) -> None:
    with daemon(Released(("never",)), tmp_path, token="wrong") as config:
        result = run(config)
    assert result.exit_code == 1
    assert "not authorised" in result.stderr
