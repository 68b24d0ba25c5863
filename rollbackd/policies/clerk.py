"""Writes the status of RollbackPolicies: late if need be, never in the way of anything else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import structlog

from actions.ports import ActionError, Conflict, Permanent
from analyzer.sample import Missing
from rollbackd.config.models.policy_resource import API_VERSION, PLURAL
from rollbackd.kubernetes.errors import NotFound, Throttled
from rollbackd.policies.resource import PolicyResource
from rollbackd.policies.source import PolicyResources
from rollbackd.policies.status import essence, merge_patch, status_of
from rollbackd.views import WatchView

log = structlog.get_logger()

MOST_WRITES = 20
"""Statuses that are written at one look; the others wait for the next."""
NUMBERS_S = 60.0
"""A status of which only numbers changed is written this often, in seconds."""
WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
"""After the first refusal in a row, and after many."""


class StatusApi(Protocol):
    """The one call that is made; ``Connection`` answers it. Raises ActionErrors."""

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        """Send one request and return the answer's JSON."""


class PolicyTelemetry(Protocol):
    """What is counted of policies of the cluster; ``Telemetry`` does it."""

    def policies(self, valid: int, invalid: int) -> None:
        """Set how many policies of the cluster are valid, and how many are not."""

    def status_write(self, outcome: str) -> None:
        """Count a write of a status: "written" or "failed"."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What we wrote: ``seen`` is what the cache held then, which it does until our write comes back."""

    status: Mapping[str, Any]
    seen: Mapping[str, Any]
    at: float


class StatusClerk:
    """Brings statuses up to date; ``tend`` is called now and again by one thread of its own.

    Args:
        resources: the policies. views: of all watches.
        api: the calls to the API server; may raise Fenced where another replica leads.
        told: counts.
        now: seconds since the epoch.
    """

    def __init__(
        self,
        resources: PolicyResources,
        views: Callable[[], Sequence[WatchView]],
        api: StatusApi,
        told: PolicyTelemetry,
        now: Callable[[], float],
    ) -> None:
        self._resources = resources
        self._views = views
        self._api = api
        self._told = told
        self._now = now
        self._written: dict[str, _Written] = {}
        self._failures = 0
        self._not_before = 0.0
        self._left: dict[str, float] = {}
        """Until when policies are left alone whose status the server does not take."""

    def tend(self) -> None:
        """Write what changed. A server that refuses is asked again later, ever more rarely."""
        found = self._resources.all()
        if isinstance(found, Missing):
            return
        valid = sum(not policy.trouble for policy in found)
        self._told.policies(valid, len(found) - valid)
        self._resources.forget_deleted()
        uids = {policy.uid for policy in found}
        self._written = {uid: last for uid, last in self._written.items() if uid in uids}
        self._left = {uid: until for uid, until in self._left.items() if uid in uids}
        if self._now() < self._not_before:
            return
        views, left = self._views(), MOST_WRITES
        # Who waits longest comes first, so that a few that change at every look keep no one out.
        for policy in sorted(found, key=self._last_write):
            if left and self._tend(policy, views):
                left -= 1
            if self._now() < self._not_before:
                return

    def _last_write(self, policy: PolicyResource) -> tuple[float, str]:
        written = self._written.get(policy.uid)
        return (written.at if written is not None else 0.0), policy.uid

    def _tend(self, policy: PolicyResource, views: Sequence[WatchView]) -> bool:
        """Write one status if it is due; tell whether the server was called."""
        now, written = self._now(), self._written.get(policy.uid)
        if now < self._left.get(policy.uid, 0.0):
            return False
        current = policy.status
        if written is not None and policy.status == written.seen:
            current = written.status
        wanted = status_of(policy, current, views, now)
        if wanted == current:
            return False
        if (
            written is not None
            and now - written.at < NUMBERS_S
            and essence(wanted) == essence(current)
        ):
            return False
        try:
            self._write(policy, merge_patch(current, wanted))
        except (NotFound, Conflict):
            pass  # it was deleted, or made anew: the cache will tell
        except ActionError as error:
            self._refused(policy, error)
            return True
        else:
            self._told.status_write("written")
        self._failures = 0
        self._written[policy.uid] = _Written(wanted, policy.status, now)
        return True

    def _write(self, policy: PolicyResource, patch: Mapping[str, Any]) -> None:
        place = f"namespaces/{quote(policy.namespace)}/{PLURAL}/{quote(policy.name)}"
        # Of this very object: one made anew under the same name has a status of its own.
        body = {"metadata": {"uid": policy.uid}, "status": dict(patch)}
        self._api.request(
            "PATCH",
            f"/apis/{API_VERSION}/{place}/status",
            body=body,
            content_type="application/merge-patch+json",
        )

    def _refused(self, policy: PolicyResource, error: ActionError) -> None:
        """Leave this one alone for a while or, where the server has trouble, all of them."""
        self._told.status_write("failed")
        self._failures += 1
        wait_s = min(WAIT_S * 2.0 ** min(self._failures - 1, 10), LONGEST_WAIT_S)
        if isinstance(error, Permanent):
            wait_s = LONGEST_WAIT_S
            self._left[policy.uid] = self._now() + wait_s
        else:
            if isinstance(error, Throttled):
                wait_s = max(wait_s, min(error.retry_after_s, LONGEST_WAIT_S))
            self._not_before = self._now() + wait_s
        say = log.warning if self._failures == 1 else log.debug
        say("policy status not written", policy=policy.full_name, error=str(error), again_s=wait_s)
