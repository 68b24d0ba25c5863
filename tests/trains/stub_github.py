"""GitHub's API as far as dispatches go: each one that is taken makes a run, asked twice, two."""

import json
from typing import Any, Self
from urllib.parse import urlsplit

from actions.dns.rest import TokenSession
from rollbackd.sources.http_access import PromptAdapter
from tests.dns.stub_clouds import StubProvider, reply
from tests.sources.stub_server import Answer, Connection, Request

TOKEN = "ghs_very-secret"


class StubGitHub(StubProvider):
    """Repository acme/shop, whose workflow deploy.yaml names its runs by their inputs.

    ``lost``: so many dispatches are taken without an answer. ``hidden``: runs are not listed yet.
    ``names_runs``: the workflow's run-name holds the input, as asked for. ``refusal``: what every
    dispatch is answered with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[dict[str, Any]] = []
        self.lost = 0
        self.hidden = False
        self.names_runs = True
        self.refusal: Answer | None = None
        self._sessions: list[TokenSession] = []

    def __enter__(self) -> Self:
        self.http.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        for session in self._sessions:
            session.close()
        self.http.__exit__(None, None, None)

    def session(self, token: str = TOKEN) -> TokenSession:
        """Return a session that presents a token; closed with the server."""
        session = TokenSession(lambda: token)
        session.mount("http://", PromptAdapter())
        self._sessions.append(session)
        return session

    def dispatched(self, region: str) -> int:
        """Return how often a region was released."""
        return sum(run["inputs"]["region"] == region for run in self.runs)

    def handle(self, request: Request) -> Answer:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return reply({"message": "Bad credentials"}, 401)
        path = urlsplit(request.path).path.removeprefix("/repos/acme/shop")
        match request.method, path.strip("/").split("/"):
            case "POST", ["actions", "workflows", "deploy.yaml", "dispatches"]:
                return self._start("workflow_dispatch", json.loads(request.body)["inputs"])
            case "POST", ["dispatches"]:
                payload = json.loads(request.body)["client_payload"]
                return self._start("repository_dispatch", payload)
            case "GET", ["actions", "workflows", "deploy.yaml", "runs"] | ["actions", "runs"]:
                event = "repository" if path == "/actions/runs" else "workflow"
                shown = [
                    {"display_title": run["title"]}
                    for run in reversed(self.runs)
                    if run["event"] == f"{event}_dispatch"
                ]
                return reply({"workflow_runs": [] if self.hidden else shown})
            case _:
                return reply({"message": "Not Found"}, 404)

    def _start(self, event: str, inputs: dict[str, str]) -> Answer:
        if self.refusal is not None:
            return self.refusal
        mark = inputs["rollbackd"] if self.names_runs else ""
        title = f"deploy {inputs['region']} {mark}"
        self.runs.append({"event": event, "inputs": inputs, "title": title})
        if self.lost:
            self.lost -= 1
            return Answer(status=0, breakage=Connection.drop)
        return Answer(status=204)
