import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from analyzer.watch import Phase
from dashboards.__main__ import FOLDER, files
from tests.dashboards.exported import exported, exposition, strangers, with_values

COMMITTED = sorted(FOLDER.glob("*.json"))
BY_NAME = pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)


GRAFANAS_EXEMPLARS = "rgba(255,0,255,0.7)"
"""Its own colour of exemplars in a heatmap."""


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


@BY_NAME
def test_colours_are_named_so_that_light_and_dark_themes_show_them(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    colours = set(re.findall(r'"(?:color|fixedColor|iconColor)": "([^"]*)"', text))
    assert colours
    unnamed = {colour for colour in colours if not re.fullmatch(r"[a-z-]+", colour)}
    assert unnamed <= {GRAFANAS_EXEMPLARS}


@BY_NAME
def test_quantiles_lead_to_traces_by_exemplars(path: Path) -> None:
    targets = [target for panel in panels(read(path)) for target in panel["targets"]]
    for target in targets:
        if "histogram_quantile(0.9" in target["expr"]:
            assert target["exemplar"] is True


def test_the_phases_of_a_rollout_are_drawn_as_states_with_their_names() -> None:
    dashboard = read(FOLDER / "rollbackd-rollout.json")
    (timeline,) = [panel for panel in panels(dashboard) if panel["type"] == "state-timeline"]
    (mapping,) = timeline["fieldConfig"]["defaults"]["mappings"]
    named = {int(place): found["text"] for place, found in mapping["options"].items()}
    assert named == dict(enumerate(phase.value for phase in Phase))
    (query,) = [target["expr"] for target in timeline["targets"]]
    for place, phase in named.items():
        assert f"{place} * rollbackd_rollout_phase{{" in query
        assert f'phase="{phase}"' in query


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("fleet", {"Time to decision", "Refusals in the time shown", "Share held"}),
        ("rollout", {"Effect with its interval", "Evidence against the limit", "Phase"}),
        ("daemon", {"Leaders", "Jobs in hand", "Age of the caches", "Errors by port in the hour before"}),
    ],
)  # fmt: skip
def test_what_people_look_for_is_there(name: str, titles: set[str]) -> None:
    shown = {panel["title"] for panel in panels(read(FOLDER / f"rollbackd-{name}.json"))}
    assert titles <= shown


@BY_NAME
def test_actions_are_marked_on_every_dashboard(path: Path) -> None:
    (annotation,) = read(path)["annotations"]["list"]
    assert "rollbackd_actions_total" in annotation["expr"]


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
