"""Scrape targets, from the configuration and from files that change."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from rollbackd.sources.targets import (
    ScrapeJob,
    Target,
    TargetFile,
    TargetGroup,
    TargetsInvalid,
)

JOB = ScrapeJob("shop")


def resolved(address: str, labels: Mapping[str, str] | None = None) -> Target:
    (target,) = JOB.resolve((TargetGroup((address,), labels or {}),))
    return target


def test_a_target_has_instance_and_job() -> None:
    target = resolved("10.0.0.1:8080", {"group": "blue"})
    assert target.url == "http://10.0.0.1:8080/metrics"
    assert dict(target.labels) == {"group": "blue", "instance": "10.0.0.1:8080", "job": "shop"}
    assert target.name == "10.0.0.1:8080"


def test_labels_may_replace_instance_and_job() -> None:
    assert dict(resolved("a:1", {"instance": "web-1", "job": "x"}).labels) == {
        "instance": "web-1",
        "job": "x",
    }


def test_hidden_labels_direct_the_request() -> None:
    hidden = {"__scheme__": "https", "__metrics_path__": "/probe", "__param_module": "a b"}
    target = resolved("[::1]:9", {**hidden, "__meta_x": "y", "empty": ""})
    assert target.url == "https://[::1]:9/probe?module=a+b"
    assert dict(target.labels) == {"instance": "[::1]:9", "job": "shop"}


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_the_port_may_be_left_out(scheme: str, port: int) -> None:
    assert resolved("shop", {"__scheme__": scheme}).url == f"{scheme}://shop:{port}/metrics"


@pytest.mark.parametrize(
    ("address", "labels"),
    [
        ("http://a:1", {}),
        ("a:1/metrics", {}),
        ("user@a:1", {}),
        ("a:port", {}),
        ("a:99999", {}),
        ("", {}),
        ("a:1", {"not a name": "x"}),
        ("a:1", {"__scheme__": "ftp"}),
    ],
)
def test_targets_that_cannot_be_scraped(address: str, labels: dict[str, str]) -> None:
    with pytest.raises(TargetsInvalid, match="target"):
        ScrapeJob("shop", (TargetGroup((address,), labels),))


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    file = TargetFile(path, JOB)
    file.refresh()
    assert (file.targets, "No such file" in file.refused) == ((), True)
    for count in (1, 3, 2):
        groups = [{"targets": [f"a:{n + 1}" for n in range(count)], "labels": {"side": "blue"}}]
        path.write_text(json.dumps(groups), encoding="utf-8")
        file.refresh()
        assert ([target.name for target in file.targets], file.refused) == (
            [f"a:{n + 1}" for n in range(count)],
            "",
        )


def test_yaml_is_understood_too(tmp_path: Path) -> None:
    path = tmp_path / "targets.yml"
    path.write_text("- targets: ['a:1', 'b:2']\n  labels: {side: blue}\n", encoding="utf-8")
    file = TargetFile(path, JOB)
    file.refresh()
    assert [target.name for target in file.targets] == ["a:1", "b:2"]
    path.write_text("", encoding="utf-8")
    file.refresh()
    assert (file.targets, file.refused) == ((), "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"targets": ["a:', "Unterminated"),
        ("{}", "must be a list of groups"),
        ('["a:1"]', r"entry \[0\]"),
        ('[{"targets": "a:1"}]', r"entry \[0\]"),
        ('[{"targets": [1]}]', r"entry \[0\]"),
        ('[{"targets": ["a:1"], "labels": {"x": 1}}]', r"entry \[0\]"),
        ('[{"targets": ["a:1"], "lables": {}}]', r"entry \[0\]"),
        ('[{"targets": ["a:1/x"]}]', "must be host:port"),
    ],
)
def test_a_bad_version_leaves_the_former_targets(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "targets.json"
    path.write_text('[{"targets": ["good:1"]}]', encoding="utf-8")
    file = TargetFile(path, JOB)
    file.refresh()
    path.write_text(content, encoding="utf-8")
    for _ in range(2):
        file.refresh()
        assert [target.name for target in file.targets] == ["good:1"]
        assert str(path) in file.refused
        assert re.search(words, file.refused)
