"""The commands as a person runs them: what is printed, and the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from rollbackd.cli import main
from tests.config.files import minimal, write

HEAVY = ("scipy", "numpy", "kubernetes", "prometheus_api_client", "sqlalchemy", "apscheduler")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_help_names_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in ("run", "validate", "status", "explain", "demo", "schema"):
        assert f"\n  {command} " in result.stdout
        assert run(command, "--help").exit_code == 0


def test_version() -> None:
    assert run("--version").stdout.startswith("rollbackd, version ")


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "FILE"], ["schema"]])
def test_light_commands_import_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    file = write(tmp_path, minimal())
    script = (
        "import sys; from rollbackd.cli import main\n"
        f"main({[str(file) if a == 'FILE' else a for a in arguments]!r}, standalone_mode=False)\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ended.stderr.strip() == "[]"


def test_python_m_rollbackd_is_the_command(tmp_path: Path) -> None:
    file = write(tmp_path, minimal())
    ended = subprocess.run(
        [sys.executable, "-m", "rollbackd", "validate", str(file)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout


def test_validate_shows_a_policy_that_finds_its_signals(tmp_path: Path) -> None:
    values = minimal() | {"policies": [{"name": "default", "signals": "auto"}]}
    result = run("validate", str(write(tmp_path, values)))
    assert result.exit_code == 0, result.output
    assert "ready-made signals, found when a watch begins" in result.stdout


def test_validate_shows_what_would_be_watched(tmp_path: Path) -> None:
    values = minimal()
    values["policies"].insert(
        0,
        values["policies"][0]
        | {
            "name": "checkout",
            "mode": "enforce",
            "actions": ["rollback"],
            "match": {"namespaces": ["shop"], "labels": {"tier": "web"}},
        },
    )
    result = run("validate", str(write(tmp_path, values)))
    assert result.exit_code == 0
    for expected in (
        "valid",
        "Prometheus at http://prometheus:9090",
        "Deployment, StatefulSet, DaemonSet of cluster default, all namespaces",
        "policy checkout, for namespace shop, tier=web",
        "acts at once: rollback",
        "policy default, for every rollout",
        "does nothing, only says what it would do",
        "critical, 50% of α; harmful from ×1.25, healthy below ×2",
    ):
        assert expected in result.stdout


def test_validate_lists_every_problem_and_exits_with_2(tmp_path: Path) -> None:
    values = minimal() | {"tick": 10}
    values["policies"][0]["signals"][0]["ratio"]["bad"] = "rate(x[5m])"
    result = run("validate", str(write(tmp_path, values)))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "2 problems" in result.stderr
    assert "policies[0].signals[0].ratio.bad\n" in result.stderr
    assert "\n    the duration 10 has no unit\n    → write 10s for seconds\n" in result.stderr


@pytest.mark.parametrize("command", [["validate"], ["run", "--config"]])
def test_a_file_that_is_not_there_exits_with_2(tmp_path: Path, command: list[str]) -> None:
    result = run(*command, str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path}/none.yaml: 1 problem\n\n    there is no such file\n"


def test_run_refuses_secrets_that_cannot_be_read(tmp_path: Path) -> None:
    values = minimal()
    values["source"]["prometheus"]["bearer_token_file"] = "token"
    result = run("run", "--config", str(write(tmp_path, values)))
    assert result.exit_code == 2
    assert f"source.prometheus.bearer_token: the file {tmp_path}/token cannot be" in result.stderr


def test_schema_prints_a_json_schema_that_knows_the_examples() -> None:
    schema = json.loads(run("schema").stdout)
    assert schema["title"] == "rollbackd configuration"
    for file in (Path(__file__).parents[2] / "examples").glob("rollbackd-*.yaml"):
        assert set(yaml.safe_load(file.read_text())) <= set(schema["properties"])


def test_the_log_format_is_chosen_from_a_closed_set() -> None:
    result = run("--log-format", "xml", "schema")
    assert result.exit_code == 2
    assert "'auto', 'console', 'json'" in result.stderr


def test_demo_knows_its_faults() -> None:
    result = run("demo", "--fault", "gremlins")
    assert result.exit_code == 2
    assert "'errors', 'latency', 'crash', 'n-plus-one', 'dependency', 'none'" in result.stderr
