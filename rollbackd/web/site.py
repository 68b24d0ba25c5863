"""The web site: which address shows which page, and what its forms do."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, urlencode

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from actions.ports import ActionError, Entry, Transient
from rollbackd.bodies import whole_body
from rollbackd.config import ConfigError, load
from rollbackd.config.manifests import Limits, is_manifest, load_manifests
from rollbackd.config.problems import Problem
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import PolicyRule
from rollbackd.decisions import Decision, Outcome, Verb
from rollbackd.notifiers.links import NO_LINKS, Links
from rollbackd.regions.portrait import region_of
from rollbackd.trains.portrait import train_of
from rollbackd.views import WatchView
from rollbackd.web import pages
from rollbackd.web.stream import Stream
from rollbackd.web.visitors import (
    CLUSTER_TOKEN,
    NOBODY,
    SESSION,
    SESSION_S,
    Visitor,
    Visitors,
    is_ours,
)

log = structlog.get_logger()

MAX_FORM = 12 * 1024
"""Bytes; tokens of a cluster may be long."""
MAX_CONFIGURATION = 128 * 1024
"""Bytes of a form that are read; a configuration in one is written by hand, and percent-encoded."""
PAGE = 100
"""Entries on one page of the journal."""
COURSE = 30
"""Entries of the journal on a rollout's page."""
KINDS = (
    "watch", "decision", "plan", "refusal", "step-started", "step-done", "step-failed", "release",
    "hold", "facts", "policy", "roster", "armed", "view", "region", "train",
    "train-plan", "withdrawal", "daemon",
)  # fmt: skip
STATIC = {
    "report.css": ("rollbackd.report", "templates/style.css", "text/css"),
    "web.css": ("rollbackd.web", "static/web.css", "text/css"),
    "live.js": ("rollbackd.web", "static/live.js", "text/javascript"),
}
SAFE = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
"""Nothing from elsewhere, nothing inline: what a rollout calls itself can not become code."""

JournalSearch = Callable[[str, str, int | None], list[Entry]]
"""Returns the newest entries by part of a watch's id, kind, and before which number."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the pages are made from.

    Attributes:
        views: the newest snapshots. rules: the policies in force.
        offered: what a button's key stands for now. decide: lets a decision happen.
        visitors: tells who is asking. journal: searches the journal; raises ActionError.
        course: the newest entries of one watch, for people; raises ActionError.
        links: what a watch's page links to. refused: counts what was refused, by reason.
        regions: how every region stands; empty when none are configured.
        trains: how every release train stands; as ``regions``.
    """

    views: Callable[[], tuple[WatchView, ...]]
    rules: Callable[[], Sequence[PolicyRule]]
    offered: Callable[[str], tuple[WatchView, Verb] | None]
    decide: Callable[[Decision], Outcome]
    visitors: Visitors
    journal: JournalSearch
    course: Callable[[str], Sequence[Entry]] = lambda _watch_id: ()
    links: Links = NO_LINKS
    regions: Callable[[], tuple[WatchView, ...]] = tuple
    trains: Callable[[], tuple[WatchView, ...]] = tuple
    refused: Callable[[str], None] = lambda _reason: None

    def routes(self) -> list[BaseRoute]:
        """Return every address of the site."""
        stream = Stream(lambda: (*self.views(), *self.regions(), *self.trains()))
        return [
            Route("/", self._overview),
            Route("/watches/{watch_id:path}", self._watch),
            Route("/regions", self._regions),
            Route("/trains", self._trains),
            Route("/journal", self._journal),
            Route("/policies", self._policies),
            Route("/policies", self._check, methods=["POST"]),
            Route("/sign-in", self._sign_in),
            Route("/sign-in", self._begin_session, methods=["POST"]),
            Route("/sign-out", self._end_session, methods=["POST"]),
            Route("/decide", self._decide, methods=["POST"]),
            Route("/stream", stream.answer),
            Route("/static/{name}", _static),
        ]

    # Reading

    def _overview(self, request: Request) -> Response:
        now, visitor = time.time(), self._visitor(request)
        beyond = pages.Beyond(self.regions(), self.trains())
        return _html(pages.overview(self.views(), now, visitor, beyond))

    def _regions(self, request: Request) -> Response:
        said = request.query_params.get("said", "")
        visitor = self._visitor(request)
        return _html(pages.regions(self.regions(), time.time(), visitor, said))

    def _trains(self, request: Request) -> Response:
        said = request.query_params.get("said", "")
        visitor = self._visitor(request)
        return _html(pages.trains(self.trains(), time.time(), visitor, said))

    def _watch(self, request: Request) -> Response:
        visitor, wanted = self._visitor(request), request.path_params["watch_id"]
        if not (page := _page_of(wanted)).startswith("/watches/"):
            return RedirectResponse(page, 303)  # messages link to everything they tell of alike
        view = next((v for v in self.views() if v.id == wanted), None)
        if view is None:
            text = "It may have ended long ago; the journal knows."
            return _html(pages.trouble("There is no such rollout", text, visitor), 404)
        try:
            course = self.course(view.id)
        except ActionError as error:
            log.warning("course not shown", watch=view.id, error=str(error))
            course = None
        said = request.query_params.get("said", "")
        beside = pages.Beside(self.links.of(view), course)
        return _html(pages.watch(view, visitor, said, beside))

    def _journal(self, request: Request) -> Response:
        visitor, asked = self._visitor(request), request.query_params
        sought, kind, before = asked.get("watch", ""), asked.get("kind", ""), asked.get("before")
        number = int(before) if before and _NUMBER.fullmatch(before) else None
        try:
            entries = self.journal(sought, kind, number)
        except ActionError as error:
            return _html(pages.trouble("The journal cannot be read", str(error), visitor), 503)
        older = None
        if len(entries) == PAGE:
            query = {"watch": sought, "kind": kind, "before": entries[-1].seq}
            older = f"/journal?{urlencode(query)}"
        return _html(
            pages.journal(
                entries, kinds=KINDS, chosen=kind, sought=sought, older=older, visitor=visitor
            )
        )

    def _policies(self, request: Request) -> Response:
        return _html(pages.policies(self.rules(), self._visitor(request)))

    async def _check(self, request: Request) -> Response:
        form = await _form(request, MAX_CONFIGURATION)
        if form is None:
            self.refused("too large")
            return PlainTextResponse("the configuration is too long\n", 413)
        text = form.get("text", "")
        problems = await run_in_threadpool(_problems, text)
        visitor = await run_in_threadpool(self._visitor, request)
        return _html(pages.policies(self.rules(), visitor, text=text, problems=problems))

    def _sign_in(self, request: Request) -> Response:
        return _html(pages.sign_in(self._visitor(request), self.visitors, refused=False))

    # Deciding

    async def _begin_session(self, request: Request) -> Response:
        form = await _form(request, MAX_FORM)
        if form is None or not is_ours(request.headers):
            return self._foreign(request)
        token, name = form.get("token", ""), form.get("name", "")
        try:  # the cluster may be asked: not on the thread that answers everybody
            cookie = await run_in_threadpool(self.visitors.sign_in, token, name, time.time())
        except SecretError as error:
            log.warning("token not readable", error=str(error))
            text = "The daemon cannot read its token now."
            return _html(pages.trouble("Not signed in", text, NOBODY), 503)
        except Transient as error:
            return _html(pages.trouble("Not signed in", f"Try again: {error}", NOBODY), 503)
        if cookie is None:
            self.refused("not authorised")
            log.warning("sign-in refused", name=name[:200], client=_client(request))
            return _html(pages.sign_in(NOBODY, self.visitors, refused=True), 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            *cookie,
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def _end_session(self, request: Request) -> Response:
        if not is_ours(request.headers):
            return self._foreign(request)
        answer = RedirectResponse("/", 303)
        for cookie in (SESSION, CLUSTER_TOKEN):
            answer.delete_cookie(cookie, httponly=True, samesite="strict")
        return answer

    async def _decide(self, request: Request) -> Response:
        form = await _form(request, MAX_FORM)
        if form is None or not is_ours(request.headers):
            return self._foreign(request)
        visitor = await run_in_threadpool(self._visitor, request)
        person = visitor.person
        if person is None:
            self.refused("not authorised")
            log.warning("decision refused", reason="nobody", client=_client(request))
            text = f"{visitor.trouble or 'Sign in first'}; nothing was done."
            status = 503 if visitor.trouble else 403
            return _html(pages.trouble("You may only read", text, visitor), status)
        found = self.offered(form.get("key", ""))
        if found is None:
            text = (
                "What this button was for is no longer current; nothing was done. "
                "Go back and look again."
            )
            return _html(pages.trouble("Too late", text, visitor), 409)
        view, verb = found
        decision = Decision(view.id, verb, person, view.plan_key, view.turn)
        try:  # it writes to disk: not on the thread that answers everybody
            said = (await run_in_threadpool(self.decide, decision)).answer.value
        except Transient:
            said = "unrecorded"
        page, _, place = _page_of(view.id).partition("#")
        return RedirectResponse(f"{page}?said={said}{place and f'#{place}'}", 303)

    def _foreign(self, request: Request) -> Response:
        self.refused("foreign")
        log.warning("form refused", path=request.url.path, client=_client(request))
        return _html(pages.trouble("Not from our own page", _FOREIGN, NOBODY), 403)

    def _visitor(self, request: Request) -> Visitor:
        return self.visitors.visitor(
            request.headers, request.cookies, _client(request), time.time()
        )


def _page_of(id_: str) -> str:
    """Return where what an id names is shown: a watch, a region or a train."""
    if (region := region_of(id_)) is not None:
        return f"/regions#{quote(region)}"
    if (train := train_of(id_)) is not None:
        return f"/trains#{quote(train[0])}"
    return f"/watches/{quote(id_, safe='/@')}"


_NUMBER = re.compile(r"[0-9]{1,18}")
_FOREIGN = (
    "A browser said that this request was made by another site's page, or did not say where it "
    "comes from. Nothing was done. Open this site's own page and try there."
)


def _client(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, headers=SAFE)


def _static(request: Request) -> Response:
    found = STATIC.get(request.path_params["name"])
    if found is None:
        return PlainTextResponse("there is no such file\n", 404)
    package, name, kind = found
    content = files(package).joinpath(name).read_bytes()
    headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
    return Response(content, media_type=f"{kind}; charset=utf-8", headers=headers)


async def _form(request: Request, most: int) -> dict[str, str] | None:
    """Return a form's fields, or None when it is too long or is no text."""
    body = await whole_body(request, most)
    if body is None:
        return None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        return None
    return {name: values[-1] for name, values in fields.items()}


def _problems(text: str) -> Sequence[Problem]:
    """Return what is wrong with a configuration or a manifest; never kept, its files not opened."""
    with TemporaryDirectory(prefix="rollbackd-check-") as folder:
        file = Path(folder) / "rollbackd.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            if is_manifest(file):
                load_manifests(file, Limits())
            else:
                load(file)
        except ConfigError as error:
            return error.problems
    return ()
