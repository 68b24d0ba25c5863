"""People who have a token of the cluster: who they are, and what they may decide.

Who it is, TokenReview tells; what they may do, SubjectAccessReview. Both answers are remembered for
a short time, so that a page that refreshes itself does not ask at every look.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import structlog

from actions.ports import ActionError, Transient
from rollbackd.config import settings as configured
from rollbackd.decisions import Person
from rollbackd.kubernetes.access_review import Reviewer

log = structlog.get_logger()

_WHO = "/apis/authentication.k8s.io/v1/tokenreviews"
_MAY = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
REMEMBER_S = 30.0
"""Whoever loses a right, or whose token is withdrawn, may decide for this long."""
MAX_REMEMBERED = 1000
ASKING = 4
"""Reviews of tokens in hand at once: strangers who try tokens must not keep the server busy."""
WAIT_S = 5.0
"""How long somebody waits for their turn to be reviewed."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{8,8192}")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the cluster knows a token's bearer as."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class ClusterLogin:
    """Lets people in by the cluster's word. Thread-safe.

    Args:
        api: asks the server; without a permit, for a follower has readers, too.
        settings: which right it takes to decide, and for whom tokens must be made.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        api: Reviewer,
        settings: configured.ClusterLogin,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[tuple[str, ...], tuple[float, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(ASKING)

    def person(self, token: str, via: str) -> Person | None:
        """Return whose token this is, or None: the cluster does not know it, or not for us.

        Raises:
            Transient: the cluster cannot say now.
        """
        if not _TOKEN.fullmatch(token):
            return None
        # the token itself is not kept, not even in memory
        bearer = sha256(token.encode()).hexdigest()
        identity: Identity | None = self._remembered((bearer,), lambda: self._identify(token))
        if identity is None:
            return None

        def may_decide(namespace: str, name: str) -> bool:
            about = (bearer, namespace, name)
            return bool(self._remembered(about, lambda: self._allowed(identity, namespace, name)))

        return Person(identity.name, via, identity.name, may_decide=may_decide)

    def _identify(self, token: str) -> Identity | None:
        spec: dict[str, Any] = {"token": token}
        if self._settings.audiences:
            spec["audiences"] = list(self._settings.audiences)
        status = self._ask(_WHO, "authentication.k8s.io/v1", "TokenReview", spec)
        if status.get("authenticated") is not True:
            return None
        # a server that knows no audiences does not say any: then the token is for the server only
        ours = set(self._settings.audiences)
        if ours and not ours & set(status.get("audiences") or ()):
            log.warning("token refused", reason="it was made for another audience")
            return None
        user = status.get("user") or {}
        if not user.get("username"):
            return None
        return Identity(
            str(user["username"]),
            str(user.get("uid") or ""),
            tuple(str(group) for group in user.get("groups") or ()),
            {str(k): tuple(map(str, v)) for k, v in (user.get("extra") or {}).items()},
        )

    def _allowed(self, identity: Identity, namespace: str, name: str) -> bool:
        resource, _, group = self._settings.resource.partition(".")
        resource, _, subresource = resource.partition("/")
        spec = {
            "user": identity.name,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": {key: list(values) for key, values in identity.extra.items()},
            "resourceAttributes": {
                "verb": self._settings.verb,
                "group": group,
                "resource": resource,
                "subresource": subresource,
                "namespace": namespace,
                "name": name,
            },
        }
        kind = "SubjectAccessReview"
        status = self._ask(_MAY, "authorization.k8s.io/v1", kind, spec)
        return status.get("allowed") is True and status.get("denied") is not True

    def _ask(
        self, path: str, version: str, kind: str, spec: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return what a review found. Raises Transient, whatever the reason that it cannot."""
        if not self._turns.acquire(timeout=WAIT_S):
            raise Transient("too many people ask the cluster who they are; try again")
        try:
            body = {"apiVersion": version, "kind": kind, "spec": dict(spec)}
            answer = self._api.request("POST", path, body=body)
        except ActionError as error:
            log.warning("people not reviewed", kind=kind, error=str(error))
            raise Transient(f"the cluster does not say who may decide: {error}") from error
        finally:
            self._turns.release()
        status = answer.get("status")
        return status if isinstance(status, dict) else {}

    def _remembered(self, key: tuple[str, ...], ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        """Return an answer that is new enough, or ask. What cannot be asked is not remembered."""
        now = self._clock()
        with self._lock:
            found = self._known.get(key)
        if found is not None and now - found[0] < REMEMBER_S:
            return found[1]
        answer = ask()
        with self._lock:
            self._known[key] = (now, answer)
            self._known.move_to_end(key)
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return answer
