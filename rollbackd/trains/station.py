"""What a region's own daemon says of a release there, and how it is asked to take one back."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

import requests
from urllib3.exceptions import HTTPError

from actions.marks import COMMIT
from actions.ports import Permanent, Transient
from analyzer.rollout import AFTER
from analyzer.sample import Absence, Missing
from analyzer.trains.events import Seen, Sight
from analyzer.trains.life import Stop
from analyzer.watch import Phase
from rollbackd.sources.http_reply import Trouble, read_limited
from rollbackd.views import WatchView
from rollbackd.views_json import NotAView, views_from_json
from rollbackd.withdrawals import State, Withdrawn

_FAILED = frozenset(
    {
        Phase.DEGRADED, Phase.DEMANDED, Phase.AWAITING_APPROVAL, Phase.ACTING, Phase.VERIFYING,
        Phase.ROLLED_BACK, Phase.REPORTED, Phase.NEEDS_HUMAN,
    }
)  # fmt: skip
"""Phases that a watch reaches only by harm, or by a person who wants the release left."""


class Station(Protocol):
    """One region's daemon, asked about one workload."""

    def watches(self) -> Sequence[WatchView] | Missing:
        """Return the workload's watches, or why they cannot be seen."""

    def take_back(self, watch_id: str, by: str) -> Withdrawn:
        """Have the release that this watch followed taken back; ask again while it is under way.

        Raises Transient or Permanent.
        """

    def page(self, watch_id: str) -> str:
        """Return the address of the page that shows a watch; without a host, when it is ours."""


@dataclass(frozen=True, slots=True)
class HomeStation:
    """This very daemon.

    Attributes:
        views: its newest snapshots. withdraw: takes a release back. workload: namespace/name.
    """

    views: Callable[[], Sequence[WatchView]]
    withdraw: Callable[[str, str], Withdrawn]
    workload: str

    def watches(self) -> Sequence[WatchView] | Missing:
        """Return the workload's watches."""
        return [view for view in self.views() if view.workload == self.workload]

    def take_back(self, watch_id: str, by: str) -> Withdrawn:
        """Take a release back."""
        return self.withdraw(watch_id, by)

    def page(self, watch_id: str) -> str:
        """Return the address on our own site."""
        return _page(watch_id)


class RemoteStation:
    """Another daemon, asked by its JSON API.

    Args:
        url: its base address. workload: namespace/name.
        session: presents our credentials.
        timeout_s: for one answer. max_bytes: a longer one is not read.
    """

    def __init__(
        self,
        url: str,
        workload: str,
        session: requests.Session,
        *,
        timeout_s: float = 10.0,
        max_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self._url = url
        self._workload = workload
        self._session = session
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes

    def watches(self) -> Sequence[WatchView] | Missing:
        """Ask for the workload's watches; whatever goes wrong is a reason, and no answer."""
        url = f"{self._url}/api/v1/watches?workload={quote(self._workload)}"
        try:
            with self._session.get(url, timeout=self._timeout_s, stream=True) as reply:
                if reply.status_code != HTTPStatus.OK:
                    return Missing(Absence.INVALID, f"{self._url} answered {reply.status_code}")
                body = read_limited(reply.raw, self._max_bytes, self._timeout_s)
            found = views_from_json(json.loads(body))
        except Trouble as error:
            return error.missing
        except requests.Timeout:
            return Missing(Absence.TIMEOUT, f"{self._url} did not answer in time")
        except (requests.RequestException, HTTPError) as error:
            return Missing(Absence.SOURCE_DOWN, f"{self._url}: {type(error).__name__}")
        except (NotAView, ValueError) as error:
            return Missing(Absence.INVALID, f"{self._url} gave no answer of rollbackd: {error}")
        # a daemon of before knows no filter
        return [view for view in found if view.workload == self._workload]

    def take_back(self, watch_id: str, by: str) -> Withdrawn:
        """Ask for a withdrawal; the same request asks how it is going."""
        body = {"watch": watch_id, "by": by}
        url = f"{self._url}/api/v1/withdrawals"
        try:
            with self._session.post(url, json=body, timeout=self._timeout_s) as reply:
                status, answer = reply.status_code, reply.json()
        except Trouble as error:
            raise Permanent(f"{self._url}: {error}") from error
        except (requests.RequestException, ValueError) as error:
            raise Transient(f"{self._url} does not answer ({type(error).__name__})") from error
        try:
            return Withdrawn(State(answer["state"]), str(answer["text"]))
        except (KeyError, TypeError, ValueError):
            why = answer.get("error", "") if isinstance(answer, dict) else ""
        text = f"{self._url} answered {status}: {str(why)[:200]}"
        busy = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT}
        later = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in busy
        raise (Transient if later else Permanent)(text)

    def page(self, watch_id: str) -> str:
        """Return the address on that daemon's site."""
        return f"{self._url}{_page(watch_id)}"


def _page(watch_id: str) -> str:
    return f"/watches/{quote(watch_id, safe='/@')}"


def release_of(view: WatchView) -> str:
    """Return what tells a release from others in every region.

    The commit that the workload says it came from; without one, the canary's label, which is the
    same in two regions only when their templates are.
    """
    return view.annotations.get(COMMIT) or view.canary


def rollouts(views: Sequence[WatchView]) -> list[WatchView]:
    """Return the watches of rollouts: one that guards a promoted revision is no new release."""
    return [view for view in views if not view.id.endswith(AFTER)]


def newest(views: Sequence[WatchView]) -> WatchView | None:
    """Return the watch of the rollout that began last."""
    return max(rollouts(views), key=lambda view: (view.started_at, view.id), default=None)


def seen_of(stop: Stop, release: str, views: Sequence[WatchView] | Missing) -> Seen:
    """Return how a region stands to a train's release.

    Args:
        stop: the region, as far as the train has come there.
        release: what the train carries.
        views: the workload's watches in that region, or why they cannot be seen.
    """
    if isinstance(views, Missing):
        return Seen(Sight.UNSEEN, stop.watch_id, str(views))
    last = newest(views)
    ours = [v for v in views if release_of(v) == release and v.id not in stop.before]
    bound = next((v for v in views if v.id == stop.watch_id), None)
    if stop.watch_id and bound is None:
        return Seen(Sight.UNSEEN, stop.watch_id, "its daemon does not know the watch any more")
    mine = bound if bound is not None else newest(ours)
    if mine is None:
        return Seen(Sight.NOT_YET)
    seen = _by_phase(mine)
    if last is not None and last.id != mine.id and seen.sight is not Sight.FAILED:
        return Seen(Sight.OVERTAKEN, mine.id, f"{release_of(last)} is rolled out there by now")
    guard = next((v for v in views if v.id == f"{mine.id}{AFTER}"), None)
    if guard is not None and (later := _by_phase(guard)).sight is Sight.FAILED:
        return Seen(Sight.FAILED, mine.id, f"after its promotion: {later.text}")
    return seen


def _by_phase(view: WatchView) -> Seen:
    text = view.note or view.outlook
    try:
        phase = Phase(view.phase)
    except ValueError:  # of a newer daemon
        return Seen(Sight.UNSEEN, view.id, f'its daemon says "{view.phase}", which is not known')
    if phase in _FAILED:
        return Seen(Sight.FAILED, view.id, f"{phase.value}: {text}")
    match phase:
        case Phase.HEALTHY:
            return Seen(Sight.HEALTHY, view.id, text)
        case Phase.INCONCLUSIVE:
            return Seen(Sight.UNDECIDED, view.id, text)
        case Phase.SUPERSEDED:
            return Seen(Sight.OVERTAKEN, view.id, text)
        case _:
            return Seen(Sight.JUDGING, view.id, text)
