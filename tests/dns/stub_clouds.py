"""Providers' APIs as far as they are used: Cloud DNS, Cloudflare, and a Route 53 that compares."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import requests

from tests.sources.stub_server import Answer, Connection, Request, StubServer

Json = dict[str, Any]


class StubProvider:
    """An HTTP API that can be disturbed.

    ``trouble``: what to do instead of the next requests. ``before_write``: done once, when the next
    write arrives and before it is looked at, as by somebody who was faster.
    """

    def __init__(self) -> None:
        self.trouble: Answer | Callable[[Request], Answer] | None = None
        self.before_write: Callable[[], None] | None = None
        self.writes = 0
        self.http = StubServer(self._answer)

    def handle(self, request: Request) -> Answer:
        raise NotImplementedError

    def _answer(self, request: Request) -> Answer:
        if callable(self.trouble):
            return self.trouble(request)
        if self.trouble is not None:
            return self.trouble
        if request.method != "GET" and self.before_write is not None:
            act, self.before_write = self.before_write, None
            act()
        return self.handle(request)


TROUBLES = {
    "429": Answer(b'{"error": {"message": "slow down"}}', 429),
    "500": Answer(b"{}", 500),
    "gone": Answer(status=0, breakage=Connection.drop),
    "slow": Answer(status=0, breakage=Connection.hang),
    "no JSON": Answer(b"<html>", 200),
}


def reply(content: object, status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


class StubCloudDns(StubProvider):
    """One managed zone; deletions must be exact."""

    def __init__(self, *rrsets: Json) -> None:
        super().__init__()
        self.rrsets = {(r["name"], r["type"]): r for r in rrsets}

    def handle(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        if url.path.endswith("/changes"):
            return self._change(json.loads(request.body))
        if url.path.endswith("/rrsets"):
            query = parse_qs(url.query)
            found = self.rrsets.get((query["name"][0], query["type"][0]))
            return reply({"rrsets": [found] if found else []})
        return reply({"name": "shop", "dnsName": "shop.test."})

    def _change(self, change: Json) -> Answer:
        for gone in change["deletions"]:
            if self.rrsets.get((gone["name"], gone["type"])) != gone:
                what = f"Precondition not met for 'entity.change.deletions[{gone['name']}]'"
                return reply({"error": {"code": 412, "message": what}}, 412)
        for gone in change["deletions"]:
            del self.rrsets[gone["name"], gone["type"]]
        for added in change["additions"]:
            self.rrsets[added["name"], added["type"]] = added
        self.writes += 1
        return reply({"status": "done"})


TOKEN = "token"


class StubCloudflare(StubProvider):
    """One zone with records and load balancers; asks for a token."""

    def __init__(self, records: list[Json], balancers: list[Json], token: str = TOKEN) -> None:
        super().__init__()
        self._token = token
        self.records = {r["id"]: r for r in records}
        self.balancers = {b["id"]: b for b in balancers}

    def handle(self, request: Request) -> Answer:
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return reply({"errors": [{"message": "Authentication error"}]}, 403)
        url = urlsplit(request.path)
        match url.path.split("/")[2:]:
            case [_]:
                return self._result({"name": "shop.test"})
            case [_, "dns_records"]:
                name = parse_qs(url.query)["name"][0]
                return self._result([r for r in self.records.values() if r["name"] == name])
            case [_, "dns_records", "batch"]:
                return self._batch(json.loads(request.body))
            case [_, "load_balancers"]:
                return self._result(list(self.balancers.values()))
            case [_, "load_balancers", which]:
                self.balancers[which] |= json.loads(request.body)
                self.writes += 1
                return self._result(self.balancers[which])
            case _:
                return reply({"errors": [{"message": "no such route"}]}, 404)

    def _batch(self, batch: Json) -> Answer:
        gone = [each["id"] for each in batch["deletes"]]
        if any(id_ not in self.records for id_ in gone):
            return reply({"errors": [{"message": "Record does not exist."}]}, 404)
        for id_ in gone:
            del self.records[id_]
        for place, post in enumerate(batch["posts"]):
            id_ = f"new{self.writes}.{place}"
            self.records[id_] = {"id": id_, **post}
        self.writes += 1
        return self._result({})

    @staticmethod
    def _result(result: object) -> Answer:
        return reply({"success": True, "errors": [], "result": result})


NAMESPACE = "{https://route53.amazonaws.com/doc/2013-04-01/}"
STALE = (
    '<?xml version="1.0"?><ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/">'
    "<Error><Type>Sender</Type><Code>InvalidChangeBatch</Code><Message>[Tried to delete resource "
    "record set but the values provided do not match the current values]</Message></Error>"
    "<RequestId>1</RequestId></ErrorResponse>"
)


class StrictRoute53(StubProvider):
    """Stands before a moto server, and refuses stale DELETEs as AWS does; moto lets them pass."""

    def __init__(self, moto: str) -> None:
        super().__init__()
        self._moto = moto

    def handle(self, request: Request) -> Answer:
        changing = request.method == "POST" and request.path.rstrip("/").endswith("/rrset")
        if not changing:
            return self._pass_on(request, request.body)
        if not self._exact(request):
            return Answer(STALE.encode(), 400, {"Content-Type": "text/xml"})
        # moto compares a CREATE with what was there before the batch; AWS with what is left of it
        answers = [self._pass_on(request, _only(request.body, a)) for a in ("DELETE", "CREATE")]
        return max(answers, key=lambda answer: answer.status)

    def _pass_on(self, request: Request, body: bytes) -> Answer:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _NOT_PASSED_ON}
        passed = requests.request(
            request.method,
            f"{self._moto}{request.path}",
            data=body,
            headers=headers | {"Host": "route53.amazonaws.com"},
            timeout=30,
        )
        return Answer(passed.content, passed.status_code, {"Content-Type": "text/xml"})

    def _exact(self, request: Request) -> bool:
        listed = requests.get(
            f"{self._moto}{request.path}",
            headers={"Host": "route53.amazonaws.com", **_signature(request)},
            timeout=30,
        )
        present = {
            _told(each)
            for each in ET.fromstring(listed.content).iter(  # noqa: S314  moto's and ours
                f"{NAMESPACE}ResourceRecordSet"
            )
        }
        changes = ET.fromstring(request.body).iter(f"{NAMESPACE}Change")  # noqa: S314  moto's and ours
        return all(
            _told(change.find(f"{NAMESPACE}ResourceRecordSet")) in present
            for change in changes
            if change.findtext(f"{NAMESPACE}Action") == "DELETE"
        )


_NOT_PASSED_ON = {"host", "content-length"}


def _only(body: bytes, action: str) -> bytes:
    """Return a batch with just its changes of one kind."""
    batch = ET.fromstring(body)  # noqa: S314  moto's and ours
    changes = batch.find(f".//{NAMESPACE}Changes")
    assert changes is not None
    for change in list(changes):
        if change.findtext(f"{NAMESPACE}Action") != action:
            changes.remove(change)
    return ET.tostring(batch)


def _signature(request: Request) -> dict[str, str]:
    return {k: v for k, v in request.headers.items() if k.lower() == "authorization"}


def _told(element: ET.Element | None) -> str:
    """Return an element in a form that does not depend on white space or order."""
    assert element is not None
    leaves = [
        f"{re.sub(r'^{.*}', '', leaf.tag)}={(leaf.text or '').strip()}"
        for leaf in element.iter()
        if len(leaf) == 0
    ]
    return "\n".join(sorted(leaves))
