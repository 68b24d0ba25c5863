"""People in the workspace: what Slack sends when they press, type or look."""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from urllib.parse import urlencode

import requests

from tests.fakes.slack.fake import ACK_S, SIGNING_SECRET, FakeSlack, Json, Message


@dataclass
class User:
    """A person. ``press`` and ``type`` return what the app answered to them alone."""

    slack: FakeSlack
    id: str = "U1"
    name: str = "ann"

    def press(self, message: Message, label: str, *, times: int = 1) -> str:
        """Press a button of a message as it is now."""
        return self.press_button(message, message.buttons()[label], times=times)

    def press_button(self, message: Message, button: Json, *, times: int = 1) -> str:
        """Press a button that may be gone meanwhile; Slack delivers it so many times."""
        before = len(self.slack.answers)
        for _ in range(times):
            self.send("interactive", self.pressed(message, button))
        self.slack.wait_until(lambda: len(self.slack.answers) >= before + times)
        return "\n".join(str(answer.get("text")) for answer in self.slack.answers[before:])

    def pressed(self, message: Message, button: Json) -> Json:
        """Return what Slack sends for a press."""
        return {
            "type": "block_actions",
            "team": {"id": "T1", "domain": "shop"},
            "user": {"id": self.id, "username": self.name, "team_id": "T1"},
            "api_app_id": "A1",
            "token": "legacy",
            "trigger_id": "1.2.3",
            "container": {"type": "message", "message_ts": message.ts},
            "channel": {"id": message.channel, "name": "rollouts"},
            "message": {"ts": message.ts, "blocks": message.blocks},
            "response_url": self.slack.answer_url(),
            "actions": [{**button, "type": "button", "action_ts": "1.0"}],
        }

    def type(self, text: str) -> Json:
        """Type the command; return the whole answer."""
        before = len(self.slack.answers)
        self.send(
            "slash_commands",
            {
                "command": "/rollbackd",
                "text": text,
                "user_id": self.id,
                "user_name": self.name,
                "team_id": "T1",
                "channel_id": "C0ROLLOUTS",
                "trigger_id": "1.2.3",
                "response_url": self.slack.answer_url(),
            },
        )
        self.slack.wait_until(lambda: len(self.slack.answers) > before)
        return self.slack.answers[-1]

    def open_home(self) -> list[Json]:
        """Look at the home tab."""
        self.slack.homes.pop(self.id, None)
        event = {"type": "app_home_opened", "user": self.id, "tab": "home", "channel": "D1"}
        self.send("events_api", {"type": "event_callback", "team_id": "T1", "event": event})
        return self.slack.wait_until(lambda: self.slack.homes.get(self.id))

    def send(self, kind: str, payload: Json) -> None:
        raise NotImplementedError


class SocketUser(User):
    """Whose requests come over Socket Mode."""

    def send(self, kind: str, payload: Json) -> None:
        self.slack.deliver(kind, payload)


@dataclass
class HttpUser(User):
    """Whose requests come over HTTP, signed. ``url``: of the app."""

    url: str = ""

    def send(self, kind: str, payload: Json) -> None:
        answer = self.post(*self.signed(kind, payload))
        assert answer.status_code == 200, answer.text

    def signed(
        self, kind: str, payload: Json, *, secret: str = SIGNING_SECRET, age_s: float = 0.0
    ) -> tuple[bytes, dict[str, str]]:
        """Return body and headers of a request."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        match kind:
            case "interactive":
                body = urlencode({"payload": json.dumps(payload)}).encode()
            case "slash_commands":
                body = urlencode(payload).encode()
            case _:
                body = json.dumps(payload).encode()
                headers = {"Content-Type": "application/json"}
        timestamp = str(int(time.time() - age_s))
        signed = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256)
        return body, headers | {
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": f"v0={signed.hexdigest()}",
        }

    def post(self, body: bytes, headers: dict[str, str]) -> requests.Response:
        return requests.post(self.url, data=body, headers=headers, timeout=ACK_S)
