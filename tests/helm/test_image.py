"""The Dockerfile, read: there is no engine here that could build it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.helm.helm_program import CHART

ROOT = CHART.parents[1]


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions: name and arguments, on one line each."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, arguments) for name, arguments in lines]


def arguments(instructions: list[tuple[str, str]], wanted: str) -> list[str]:
    return [arguments for name, arguments in instructions if name == wanted]


def copied(instructions: list[tuple[str, str]]) -> list[str]:
    """Return what comes from the build's context, not from another stage."""
    own = [a.split() for a in arguments(instructions, "COPY") if not a.startswith("--from")]
    return [source for parts in own for source in parts[:-1]]


def test_what_is_copied_is_there_and_not_ignored(instructions: list[tuple[str, str]]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    assert all((ROOT / source).exists() for source in copied(instructions))
    assert set(copied(instructions)) == allowed


def test_everything_that_the_wheel_needs_is_copied(instructions: list[tuple[str, str]]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {
        "pyproject.toml",
        "uv.lock",
        project["project"]["readme"],
        *project["project"]["license-files"],
        *project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
    }
    assert needed <= set(copied(instructions))


def test_stages_stand_on_images_that_can_be_pinned(instructions: list[tuple[str, str]]) -> None:
    stages = [a.split(" AS ") for a in arguments(instructions, "FROM")]
    names = {name for _, name in stages}
    assert {"runtime", "sbom"} <= names
    for image, _ in stages:
        assert image in names or image in {"scratch", "${PYTHON}", "${UV}"}
    assert stages[-1] == ["${PYTHON}", "runtime"]
    for default in arguments(instructions, "ARG"):
        assert re.fullmatch(r"(PYTHON|UV)=[\w./-]+:\d+\.\d+[\w.-]*", default)


def test_it_runs_as_the_user_and_on_the_port_of_the_chart(
    instructions: list[tuple[str, str]],
) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    names = Path(CHART / "templates" / "_names.tpl").read_text(encoding="utf-8")
    (user,) = arguments(instructions, "USER")
    found = re.findall(r"runAs(?:User|Group): (\d+)", names)
    assert user == ":".join(found)
    assert arguments(instructions, "EXPOSE") == [str(values["http"]["port"])]


def test_it_tells_its_health_and_starts_the_daemon(instructions: list[tuple[str, str]]) -> None:
    assert "/healthz" in arguments(instructions, "HEALTHCHECK")[0]
    assert arguments(instructions, "ENTRYPOINT") == ['["rollbackd"]']
    assert arguments(instructions, "CMD") == ['["run"]']
