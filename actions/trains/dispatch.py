"""Releases a region by starting a workflow of GitHub Actions, once.

GitHub gives a dispatch no identity: asked twice, it runs twice. So each carries a mark, which the
workflow must repeat in its ``run-name``; before a dispatch, and after one whose fate is unknown, the
runs are searched for it. A dispatch that an earlier process may have sent is never sent again:
when its run does not appear, a person is called.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import requests

from actions.dns.rest import Session, call
from actions.plan import Step
from actions.ports import Permanent, StepState, Transient
from actions.trains.planner import Bound
from actions.trains.settings import API, Workflow

NAME = "github-dispatch"
INPUT = "rollbackd"
"""Name of the workflow's input, or of the key in a repository dispatch's payload."""
RUNS = 100
"""Runs in one page; the newest come first."""


class GitHubDispatch:
    """Starts one workflow for one region; implements ``actions.trains.lever.Lever``.

    Args:
        workflow: what is started. session: sends the token with every request.
        begun: keys of steps that an earlier process began: never sent again.
        api: base address. timeout_s: for one call.
    """

    def __init__(
        self,
        workflow: Workflow,
        session: Session,
        *,
        begun: frozenset[str] = frozenset(),
        api: str = API,
        timeout_s: float = 10.0,
    ) -> None:
        self._workflow = workflow
        self._session = session
        self._begun = set(begun)
        self._url = f"{api}/repos/{quote(workflow.repository)}"
        self._timeout_s = timeout_s

    def draft(self, bound: Bound) -> Step:
        """Return the step; GitHub is asked whether the token may see the runs at all."""
        self._run(bound.mark)
        return Step(
            actuator=NAME,
            target={
                "region": bound.region,
                "repository": self._workflow.repository,
                "workflow": self._workflow.workflow,
                "event_type": self._workflow.event_type,
                "ref": self._workflow.ref,
            },
            expected={"dispatched": False},
            desired={
                "mark": bound.mark,
                "inputs": {
                    **self._workflow.inputs,
                    "release": bound.release,
                    "region": bound.region,
                    INPUT: bound.mark,
                },
                "summary": f"start {self._workflow} for {bound.release} in {bound.region}",
            },
        )

    def inspect(self, step: Step) -> StepState:
        """Look for a run that bears the mark; how it ends is for the region's daemon to judge."""
        if self._run(step.desired["mark"]) is not None:
            return StepState.DONE
        return StepState.SETTLING if step.key in self._begun else StepState.PENDING

    def perform(self, step: Step) -> None:
        """Start the workflow, unless it runs already or may have been started before.

        Raises Transient only when GitHub surely did not take it. When that is unknown, it returns
        all the same: whether there is a run is then looked for, and nothing is sent again.
        """
        if step.key in self._begun or self._run(step.desired["mark"]) is not None:
            return
        url, body = self._request(step)
        self._begun.add(step.key)
        try:
            reply = self._session.request("POST", url, json=body, timeout=self._timeout_s)
        except requests.ConnectTimeout as error:
            self._begun.discard(step.key)
            raise Transient(f"{self._workflow}: GitHub does not answer") from error
        except requests.RequestException:
            return
        if not HTTPStatus.BAD_REQUEST <= reply.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return
        self._begun.discard(step.key)
        refused = f"{self._workflow}: GitHub answered {reply.status_code}"
        if reply.status_code in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}:
            raise Transient(refused)
        limited = reply.headers.get("x-ratelimit-remaining") == "0" or reply.headers.get(
            "retry-after"
        )
        if reply.status_code == HTTPStatus.FORBIDDEN and limited:
            raise Transient(f"{refused}: the limit of its API is used up")
        raise Permanent(f"{refused}: {_said(reply)}")

    def _request(self, step: Step) -> tuple[str, dict[str, Any]]:
        inputs = dict(step.desired["inputs"])
        if self._workflow.workflow:
            url = f"{self._url}/actions/workflows/{quote(self._workflow.workflow)}/dispatches"
            return url, {"ref": self._workflow.ref, "inputs": inputs}
        body = {"event_type": self._workflow.event_type, "client_payload": inputs}
        return f"{self._url}/dispatches", body

    def _run(self, mark: str) -> Mapping[str, Any] | None:
        """Return the run that bears a mark, or None when there is none to be seen."""
        if self._workflow.workflow:
            where = f"/actions/workflows/{quote(self._workflow.workflow)}/runs"
            event = "workflow_dispatch"
        else:
            where, event = "/actions/runs", "repository_dispatch"
        url = f"{self._url}{where}?event={event}&per_page={RUNS}"
        answer = call(self._session, "GET", url, timeout_s=self._timeout_s)
        runs = answer.get("workflow_runs", ())
        return next((run for run in runs if mark in str(run.get("display_title", ""))), None)


def _said(reply: requests.Response) -> str:
    try:
        answer = reply.json()
    except ValueError:
        return "no reason given"
    return str(answer.get("message", ""))[:200] if isinstance(answer, dict) else ""
