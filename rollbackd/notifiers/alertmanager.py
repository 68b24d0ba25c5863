"""Alertmanager: an alert a watch that somebody should look at, so that existing routes apply."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import requests

from rollbackd.notifiers.http_post import send
from rollbackd.notifiers.links import Links, parts, traces_of
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.wording import Severity, headline, severity, summary
from rollbackd.views import WatchView

KEEP_S = 86400.0
"""An alert that is not told to end ends by then: a daemon that is gone must not page for ever."""
ALERT = "RollbackdWatch"


class Alertmanager:
    """Implements ``Notifier``. The memo holds the labels of the open alert and when it began.

    Args:
        url: base address. labels: added to every alert, for routing. links: the first of them
            becomes the alert's source. now: seconds since the epoch.
    """

    def __init__(
        self, url: str, labels: Mapping[str, str], links: Links, now: Callable[[], float]
    ) -> None:
        self._url = f"{url}/api/v2/alerts"
        self._labels = dict(labels)
        self._links = links
        self._now = now
        self._session = requests.Session()

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Raise, change or end the alert of a watch.

        An alert is what its labels are: one of another severity is another, and the old one ends.
        """
        how_bad = severity(view)
        wanted = self._alert_labels(view) if how_bad is not Severity.INFO else {}
        open_: Mapping[str, str] = memo.data.get("labels", {})
        began = float(memo.data.get("began", self._now()))
        alerts = []
        if open_ and open_ != wanted:
            alerts.append(self._alert(view, open_, began, ends=self._now()))
        if wanted:
            began = began if open_ == wanted else self._now()
            alerts.append(self._alert(view, wanted, began, ends=self._now() + KEEP_S))
        if not alerts:
            return
        body = json.dumps(alerts, ensure_ascii=False, allow_nan=False).encode()
        headers = {"Content-Type": "application/json"}
        send(self._session, "POST", self._url, body, headers, what="Alertmanager")
        memo.keep(labels=wanted, began=began)

    def _alert_labels(self, view: WatchView) -> dict[str, str]:
        fixed = {"alertname": ALERT, "severity": severity(view).value, "policy": view.policy}
        return self._labels | fixed | parts(view) | {"canary": view.canary}

    def _alert(
        self, view: WatchView, labels: Mapping[str, str], began: float, ends: float
    ) -> dict[str, Any]:
        annotations = {"summary": headline(view), "description": summary(view)}
        traces = "\n".join(f"{label} {url}" for label, url in traces_of(view).items())
        alert: dict[str, Any] = {
            "labels": dict(labels),
            "annotations": annotations | ({"traces": traces} if traces else {}),
            "startsAt": _written(began),
            "endsAt": _written(ends),
        }
        source = next(iter(self._links.of(view).values()), "")
        return alert | ({"generatorURL": source} if source else {})

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
