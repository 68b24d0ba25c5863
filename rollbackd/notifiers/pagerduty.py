"""PagerDuty, by its Events API v2: an incident a watch, resolved when all is well again."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import requests

from actions.ports import Transient
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.notifiers.http_post import send
from rollbackd.notifiers.links import Links, parts, traces_of
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.wording import Severity, headline, severity, strongest, subject
from rollbackd.views import WatchView

SUMMARY = 1024
"""Characters that PagerDuty takes."""


class PagerDuty:
    """Implements ``Notifier``. The memo holds whether an incident is open.

    Args:
        url: base address of the Events API. routing_key: of the service's integration.
        links: shown with the incident.
    """

    def __init__(self, url: str, routing_key: Secret, links: Links) -> None:
        self._url = f"{url}/v2/enqueue"
        self._routing_key = routing_key
        self._links = links
        self._session = requests.Session()

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Trigger or update the incident when somebody should look, else resolve it."""
        calling = severity(view) is not Severity.INFO
        if not calling and not memo.data.get("open"):
            return
        try:
            key = self._routing_key.read()
        except SecretError as error:
            raise Transient(str(error)) from error
        event: dict[str, Any] = {
            "routing_key": key,
            "event_action": "trigger" if calling else "resolve",
            "dedup_key": f"rollbackd-{hashlib.sha256(view.id.encode()).hexdigest()[:40]}",
        }
        if calling:
            event |= self._incident(view)
        body = json.dumps(event, ensure_ascii=False, allow_nan=False).encode()
        headers = {"Content-Type": "application/json"}
        send(self._session, "POST", self._url, body, headers, what="PagerDuty")
        memo.keep(open=calling)

    def _incident(self, view: WatchView) -> dict[str, Any]:
        where = parts(view)
        return {
            "client": "rollbackd",
            "links": [
                {"href": url, "text": text}
                for text, url in (self._links.of(view) | traces_of(view)).items()
            ],
            "payload": {
                "summary": headline(view)[:SUMMARY],
                "source": view.id[:SUMMARY],
                "severity": severity(view).value,
                "timestamp": datetime.fromtimestamp(view.updated_at, UTC).isoformat(),
                "component": where["name"],
                "group": where["namespace"],
                "class": view.phase,
                "custom_details": {
                    "reasons": list(strongest(view)),
                    "rollout": subject(view),
                    "plan": view.plan or "",
                    "note": view.note,
                    "next": view.outlook,
                },
            },
        }

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
