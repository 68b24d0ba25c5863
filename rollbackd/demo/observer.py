"""Looking at the stage from outside: the daemon's API, and what the customers counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import requests
from prometheus_client.parser import text_string_to_metric_families

from rollbackd.views import WatchView
from rollbackd.views_json import NotAView, views_from_json

TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Customers:
    """What the customers saw so far, by upstream address: requests, and those that failed."""

    sent: Mapping[str, int]
    failed: Mapping[str, int]

    def total(self) -> tuple[int, int]:
        """Return all requests, and all that failed."""
        return sum(self.sent.values()), sum(self.failed.values())


class Observer:
    """Asks over HTTP; an answer that does not come is None, and the last one stays valid.

    Args:
        daemon: host:port of the daemon. customers: host:port of the load generator's metrics.
    """

    def __init__(self, daemon: str, customers: str) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment would not reach these
        self._daemon = daemon
        self._customers = customers

    def watch(self) -> WatchView | None:
        """Return the newest watch that the daemon tells of, or None."""
        try:
            reply = self._get(f"http://{self._daemon}/api/v1/watches")
            views = views_from_json(reply.json())
        except (requests.RequestException, NotAView):
            return None
        return max(views, key=lambda view: view.started_at, default=None)

    def customers(self) -> Customers | None:
        """Return what the customers counted, or None."""
        try:
            reply = self._get(f"http://{self._customers}/metrics")
        except requests.RequestException:
            return None
        sent: dict[str, int] = {}
        failed: dict[str, int] = {}
        for family in text_string_to_metric_families(reply.text):
            for sample in family.samples:
                if sample.name == "client_requests_total":
                    upstream, count = sample.labels["upstream"], int(sample.value)
                    sent[upstream] = sent.get(upstream, 0) + count
                    if sample.labels["code"] != "200":
                        failed[upstream] = failed.get(upstream, 0) + count
        return Customers(sent, failed)

    def _get(self, url: str) -> requests.Response:
        reply = self._session.get(url, timeout=TIMEOUT_S)
        reply.raise_for_status()
        return reply

    def close(self) -> None:
        """Drop the connections."""
        self._session.close()

    def __enter__(self) -> Self:
        """Return itself; leaving drops the connections."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop the connections."""
        self.close()
