"""Asks the API server which of the rights that are needed are granted."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Protocol

import structlog

from actions.ports import ActionError
from rollbackd.kubernetes.connection import JsonObject
from rollbackd.kubernetes.rights import Need

log = structlog.get_logger()

PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Reviewer(Protocol):
    """The one call that is made; ``Connection`` answers it. Raises ActionErrors."""

    def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: object = None,
    ) -> JsonObject:
        """Send one request and return the answer's JSON."""


def missing(api: Reviewer, needs: Sequence[Need]) -> tuple[Need, ...]:
    """Return the needs that are not granted.

    A SelfSubjectAccessReview is a POST that changes nothing; every authenticated user may make it.

    Raises:
        Transient or Permanent: the server cannot be asked.
    """
    return tuple(need for need in needs if not _is_granted(api, need))


def _is_granted(api: Reviewer, need: Need) -> bool:
    right = need.right
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    status = api.request("POST", PATH, body=review).get("status") or {}
    return status.get("allowed") is True


class AccessReview:
    """What was found when the rights were last asked for. May be read from any thread.

    Args:
        api: asks the server; without a permit, since a follower asks, too.
        needs: the rights of the enabled features.
        missed: told how many rights are missing, essential ones and others.
    """

    def __init__(
        self, api: Reviewer, needs: Sequence[Need], missed: Callable[[int, int], None]
    ) -> None:
        self._api = api
        self._needs = tuple(needs)
        self._missed = missed
        self._lock = Lock()
        self._missing: tuple[Need, ...] = ()

    def look(self) -> None:
        """Ask for every right; log what changed. Without an answer, what was known stays."""
        try:
            found = missing(self._api, self._needs)
        except ActionError as error:
            log.warning("rights not reviewed", error=str(error))
            return
        with self._lock:
            before, self._missing = self._missing, found
        essential = sum(need.essential for need in found)
        self._missed(essential, len(found) - essential)
        for need in found:
            if need not in before:
                say = log.error if need.essential else log.warning
                say("right missing", right=str(need.right), needed_for=need.feature)
        for need in before:
            if need not in found:
                log.info("right granted", right=str(need.right), needed_for=need.feature)

    def unready(self) -> str:
        """Return the essential rights that are missing, for people, or ""."""
        with self._lock:
            lacking = [need for need in self._missing if need.essential]
        return "; ".join(f"{need.feature} needs the right to {need.right}" for need in lacking)
