"""``status`` and ``explain``, from a daemon's API and from its journal."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result

from actions.ports import Entry
from rollbackd.cli import main
from rollbackd.store import SqlJournal
from rollbackd.views import ExampleView, WatchView
from rollbackd.views_json import view_to_json, views_to_json
from tests.cli.sample_views import blind, degraded, healthy
from tests.config.files import minimal, write
from tests.servers.postgres import PostgresServer

NOBODY = "http://127.0.0.1:1"
VIEWS = (degraded(), healthy(), blind())


@contextmanager
def daemon(views: tuple[WatchView, ...], status: int = 200) -> Iterator[str]:
    """Serve views as the daemon's API does."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path)
            single = {f"/api/v1/watches/{v.id}": view_to_json(v) for v in views}
            answer = views_to_json(views) if path == "/api/v1/watches" else single[path]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_arguments: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    with SqlJournal.open(f"sqlite:///{path}") as opened:
        stale = view_to_json(healthy()) | {"phase": "warming"}
        opened.append(Entry(1.0, healthy().id, "view", "", stale))
        opened.append(*(Entry(2.0, v.id, "view", "", view_to_json(v)) for v in VIEWS))
    return path


def run(*arguments: str, columns: int = 120) -> Result:
    return CliRunner().invoke(main, arguments, env={"COLUMNS": str(columns)})


def test_status_is_a_table() -> None:
    with daemon(VIEWS) as url:
        result = run("status", "--url", url)
    assert result.exit_code == 0
    assert result.stderr == ""
    heading, _, first, second, third = (
        line for line in result.stdout.splitlines() if line.strip()
    )
    assert heading.split() == [
        "WORKLOAD", "FROM", "→", "TO", "PHASE", "VERDICT", "EVIDENCE", "AGE", "MODE",
    ]  # fmt: skip
    assert "shop/search-frontend" in first  # the youngest first
    for part in ("shop/checkout", "5d9f1 → 7c4b9", "degraded", "██████████ 8·10⁵ of 1000"):
        assert part in second
    assert "batch/checkout" in third


def test_status_fits_a_narrow_terminal() -> None:
    with daemon(VIEWS) as url:
        result = run("status", "--url", url, columns=72)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= 72
    assert "  verifying · degraded · ██████ 8·10⁵ of 1000 · " in result.stdout


def test_status_of_nothing_says_so() -> None:
    with daemon(()) as url:
        result = run("status", "--url", url)
    assert result.exit_code == 0
    assert "Nothing is watched" in result.stdout


def test_json_is_what_the_api_answers(journal: Path) -> None:
    with daemon(VIEWS) as url:
        listed = json.loads(run("status", "--url", url, "--json").stdout)
        single = json.loads(run("explain", VIEWS[0].id, "--url", url, "--json").stdout)
    assert sorted(v["id"] for v in listed) == sorted(v.id for v in VIEWS)
    assert single == view_to_json(VIEWS[0])
    kept = run("status", "--url", NOBODY, "--journal", str(journal), "--json")
    assert json.loads(kept.stdout) == listed


def test_without_a_daemon_the_journal_is_read_and_that_is_said(journal: Path) -> None:
    result = run("status", "--url", NOBODY, "--journal", str(journal))
    assert result.exit_code == 0
    assert f"From the journal sqlite:///{journal}" in result.stderr
    assert "nothing listens there" in result.stderr
    assert "observing" in result.stdout  # the newest view of each watch
    assert "warming" not in result.stdout


def test_the_journal_can_be_read_while_the_daemon_writes_it(journal: Path) -> None:
    with SqlJournal.open(f"sqlite:///{journal}"):
        assert run("status", "--url", NOBODY, "--journal", str(journal)).exit_code == 0


def test_the_configuration_says_where_daemon_and_journal_are(journal: Path) -> None:
    values = minimal() | {
        "http": {"listen": "127.0.0.1:1"},
        "journal": {"url": f"sqlite:///{journal.name}"},
    }
    result = run("status", "--config", str(write(journal.parent, values)))
    assert result.exit_code == 0
    assert "rollbackd at http://127.0.0.1:1 did not answer" in result.stderr


@pytest.mark.servers
def test_a_journal_in_postgresql_is_read_and_its_address_not_told(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    url = postgres.fresh()
    with SqlJournal.open(url) as opened:
        opened.take_pen()
        opened.append(Entry(1.0, VIEWS[0].id, "view", "", view_to_json(VIEWS[0])))
    (tmp_path / "dsn").write_text(url)
    values = minimal() | {"http": {"listen": "127.0.0.1:1"}, "journal": {"dsn_file": "dsn"}}
    file = str(write(tmp_path, values))
    result = run("status", "--config", file)
    assert result.exit_code == 0, result.output
    assert f"From the journal PostgreSQL, with the address in the file {tmp_path}" in result.stderr
    (tmp_path / "dsn").unlink()
    lacking = run("status", "--config", file)
    assert lacking.exit_code == 1
    assert "dsn cannot be read: No such file" in lacking.stderr
    for output in (result.output, lacking.output):
        assert "s3cret" not in output


def test_neither_daemon_nor_journal_is_an_error_that_says_both(tmp_path: Path) -> None:
    result = run("status", "--url", NOBODY)
    assert result.exit_code == 1
    assert "nothing listens there.\nName the daemon with --url" in result.stderr
    result = run("status", "--url", NOBODY, "--journal", str(tmp_path / "none.db"))
    assert result.exit_code == 1
    assert "there is no such file; has rollbackd run here?" in result.stderr


def test_a_daemon_in_trouble_is_not_believed(journal: Path) -> None:
    with daemon(VIEWS, status=500) as url:
        result = run("status", "--url", url, "--journal", str(journal))
    assert result.exit_code == 0
    assert "500" in result.stderr
    assert "From the journal" in result.stderr


@pytest.mark.parametrize("wanted", [degraded().id, "shop/checkout", "7c4b9"])
def test_explain_finds_the_watch_that_is_meant(wanted: str) -> None:
    with daemon(VIEWS) as url:
        result = run("explain", wanted, "--url", url)
    assert result.exit_code == 0
    assert result.stdout.startswith("shop/checkout  5d9f1 → 7c4b9\n")


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (
            "checkout",
            "fits production/batch/Deployment/checkout, production/shop/Deployment/check",
        ),
        ("search-frontent", 'did you mean "search-frontend"?'),
        ("zzz", "rollbackd status lists them"),
    ],
)
def test_explain_says_what_it_does_not_know(wanted: str, says: str) -> None:
    with daemon(VIEWS) as url:
        result = run("explain", wanted, "--url", url)
    assert result.exit_code == 1
    assert says in result.stderr


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_explain_tells_the_whole_story_at_any_width(columns: int) -> None:
    with daemon(VIEWS) as url:
        result = run("explain", "shop/checkout", "--url", url, columns=columns)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert "\x1b" not in result.stdout
    story = " ".join(result.stdout.split())
    for part in (
        "degraded, verifying",
        "evidence ██████████ 8·10⁵ of the 1000 that decide",
        "• errors 4.1 % vs 0.4 %, ×10 [×6, ×17], e-value 8·10⁵",
        "Signal errors (ratio, critical)",
        "canary 4.1 %, baseline 0.436 %: ×10.2 [×6.1, ×17], harmful from ×1.25",
        "not measured at the last look: stale: the newest sample is 31 s old",
        "phase warming → observing",
        "Plan roll shop/checkout back to 5d9f1",
        "What happens next Recovery is being measured",
    ):
        assert part in story


def test_the_plots_show_both_sides_and_the_crossing_of_the_limit() -> None:
    with daemon(VIEWS) as url:
        lines = run("explain", "shop/checkout", "--url", url, columns=80).stdout.splitlines()
    (sides,) = (i for i, line in enumerate(lines) if "errors: canary (line) against" in line)
    (evidence,) = (i for i, line in enumerate(lines) if "errors: evidence (line)" in line)
    sides_drawn, evidence_drawn = lines[sides:evidence], lines[evidence : evidence + 12]
    assert any(line.startswith("4 %┤") and "⠤" in line for line in sides_drawn)
    assert any(line.startswith("0 %┤") and "•" in line for line in sides_drawn)
    (limit,) = (line for line in evidence_drawn if "┈┈┈" in line)
    assert set(limit) & set("⣀⡠⠤⠔⠒⠊⠉⢀⠁")  # the evidence crosses it
    assert [line.split("┤")[0].strip() for line in evidence_drawn if line.count("┤") and "┈" not in line] == [
        "10⁷", "10⁵", "1000", "10", "0.1",
    ]  # fmt: skip


def test_explain_without_measurements_has_no_plots() -> None:
    with daemon(VIEWS) as url:
        result = run("explain", "batch/checkout", "--url", url)
    assert result.exit_code == 0
    assert "not measured at the last look: source down: connection refused" in result.stdout
    assert "┌" not in result.stdout


def test_explain_of_traces_names_operations_and_shows_where_to_look() -> None:
    (errors, *_) = degraded().signals
    traces = replace(
        errors,
        name="traces",
        kind="trace",
        summary="traces: GET /cart: 9 new `SELECT items` calls per request, e-value 3·10⁵",
        examples=(
            ExampleView("canary", "GET /cart", "0af7651916cd43dd8448eb211c80319c", "http://t/0af"),
            ExampleView("baseline", "GET /cart", "b7ad6b7169203331b7ad6b7169203331"),
        ),
    )
    with daemon((replace(degraded(), signals=(traces,)),)) as url:
        result = run("explain", "shop/checkout", "--url", url, columns=100)
    story = " ".join(result.stdout.split())
    assert "9 new `SELECT items` calls per request" in story
    assert "canary GET /cart http://t/0af" in story
    assert "baseline GET /cart trace b7ad6b7169203331b7ad6b7169203331" in story
    assert "harmful from" not in story


def test_explain_tells_what_the_guards_said() -> None:
    with daemon(VIEWS) as url:
        lines = run("explain", "shop/checkout", "--url", url, columns=100).stdout.splitlines()
    start = lines.index("Guards")
    assert [line.rstrip() for line in lines[start + 1 : start + 4]] == [
        "  warned   capacity: not known whether it fits: the resource quotas could not be read (403)",
        "  passed   way-back, cool-down",
        "",
    ]
