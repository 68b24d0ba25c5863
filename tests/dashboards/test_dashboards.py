import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.__main__ import FOLDER, files
from tests.dashboards.exported import exported, exposition, strangers, with_values

COMMITTED = sorted(FOLDER.glob("*.json"))
BY_NAME = pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: dict[str, Any]) -> list[str]:
    """Return the PromQL of all panels and annotations, as it is sent."""
    asked = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    return [with_values(promql) for promql in asked]


def test_the_committed_files_are_what_the_code_makes() -> None:
    made = dict(files())
    assert sorted(made) == COMMITTED
    for path, content in made.items():
        assert path.read_text(encoding="utf-8") == content, "run: python -m dashboards"


@BY_NAME
def test_nothing_is_lost_on_the_way_through_the_sdk(path: Path) -> None:
    register_default_plugins()
    again = JSONEncoder(sort_keys=True, indent=2).encode(Dashboard.from_json(read(path)))
    assert json.loads(again) == read(path)


@BY_NAME
def test_every_series_label_and_value_is_exported(path: Path) -> None:
    known = exported()
    assert set().union(*(strangers(promql, known) for promql in queries(read(path)))) == set()


@BY_NAME
def test_every_panel_can_be_read(path: Path) -> None:
    for panel in panels(read(path)):
        defaults = panel["fieldConfig"]["defaults"]
        assert len(panel["description"]) > 20, panel["title"]
        assert defaults["unit"], panel["title"]
        assert defaults["thresholds"]["steps"], panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]


@BY_NAME
def test_panels_do_not_overlap_and_fill_their_rows(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in read(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    height = 1 + max(y for _, y in taken)
    assert len(taken) == 24 * height


def test_dashboards_link_to_each_other_and_keep_what_was_chosen() -> None:
    for path in COMMITTED:
        dashboard = read(path)
        (link,) = dashboard["links"]
        assert set(link["tags"]) <= set(dashboard["tags"])
        assert (link["includeVars"], link["keepTime"]) == (True, True)
        names = [v["name"] for v in dashboard["templating"]["list"]]
        assert names[:3] == ["datasource", "job", "instance"]


@pytest.mark.servers
def test_promtool_finds_nothing_wrong_with_what_is_exported() -> None:
    text = exposition()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
