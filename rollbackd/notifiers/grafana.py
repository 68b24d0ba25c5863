"""Grafana: an annotation over the time of each watch, on every dashboard that shows its tags."""

import json
from html import escape

import requests

from actions.ports import Transient
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.notifiers.http_post import Gone, send
from rollbackd.notifiers.links import parts, traces_of
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.wording import summary
from rollbackd.views import WatchView


def _traces(view: WatchView) -> list[str]:
    """Return links to traces as HTML, as which Grafana shows texts."""
    return [
        f'<a href="{escape(url)}">{escape(label)}</a>' for label, url in traces_of(view).items()
    ]


class Grafana:
    """Implements ``Notifier``. The memo holds the annotation's id.

    Args:
        url: base address. token: of a service account that may write annotations.
        tags: added to every annotation.
    """

    def __init__(self, url: str, token: Secret, tags: tuple[str, ...]) -> None:
        self._url = f"{url}/api/annotations"
        self._token = token
        self._tags = tags
        self._session = requests.Session()

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Make the annotation, or bring it up to date."""
        place = parts(view)
        content: dict[str, object] = {
            "time": round(1000 * view.started_at),
            "timeEnd": round(1000 * view.updated_at),
            "tags": ["rollbackd", place["namespace"], place["name"], view.phase, *self._tags],
            "text": "<br>".join([escape(summary(view), quote=False), *_traces(view)]),
        }
        if "id" in memo.data:
            try:
                self._send("PATCH", f"{self._url}/{memo.data['id']}", content)
            except Gone:
                pass  # somebody deleted it: make another
            else:
                return
        try:
            answer = self._send("POST", self._url, content)
            memo.keep(id=int(answer.json()["id"]))
        except (Gone, ValueError, KeyError, TypeError) as error:
            raise Transient(f"Grafana does not answer as Grafana does: {error}") from error

    def _send(self, method: str, url: str, content: dict[str, object]) -> requests.Response:
        try:
            token = self._token.read()
        except SecretError as error:
            raise Transient(str(error)) from error
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        return send(self._session, method, url, body, headers, what="Grafana")

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
