"""The app's manifest asks for what the code uses."""

from pathlib import Path

import yaml

from rollbackd.slack.door import COMMAND

MANIFEST = Path(__file__).parents[2] / "examples" / "slack-app-manifest.yaml"


def test_the_manifest_fits_the_code() -> None:
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    (command,) = manifest["features"]["slash_commands"]
    assert command["command"] == COMMAND
    assert len(command["description"]) <= 2000
    assert manifest["settings"]["socket_mode_enabled"]
    assert manifest["settings"]["interactivity"]["is_enabled"]
    assert manifest["settings"]["event_subscriptions"]["bot_events"] == ["app_home_opened"]
    assert manifest["features"]["app_home"]["home_tab_enabled"]
    # every scope that the stand-in knows to lack, and those of chat and commands
    assert set(manifest["oauth_config"]["scopes"]["bot"]) == {
        "chat:write", "commands", "files:write", "users:read", "users:read.email",
        "usergroups:read",
    }  # fmt: skip
