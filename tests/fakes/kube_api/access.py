"""Who may do what: one token, a set of denials, and the reviews that tell clients about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .objects.errors import forbidden, unauthorized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .objects.kinds import ResourceKind
    from .objects.metadata import JsonObject
    from .serving.request_info import RequestInfo

USER = "system:serviceaccount:fake:client"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a token of the cluster.

    Attributes:
        name, groups: as the cluster knows them.
        may: what they are allowed, each as "verb plural.group namespace" ("decide
            rollouts.rollbackd.io shop"); "*" as the namespace stands for all.
        audiences: whom the token was made for; empty = the API server.
    """

    name: str
    groups: tuple[str, ...] = ()
    may: frozenset[str] = field(default_factory=frozenset)
    audiences: tuple[str, ...] = ()


API_SERVER = "https://kubernetes.default.svc"


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for all requests.

    Attributes:
        token: the only bearer token that is known; `None` lets requests without any token in.
        denied: what is forbidden, each as "verb resource" ("patch deployments",
            "update deployments/scale"); "*" stands for any verb or any resource.
        people: others who have tokens, by token; they are reviewed, and make no requests here.
        knows_audiences: whether the authenticator looks at whom a token was made for.
    """

    token: str | None = None
    denied: frozenset[str] = field(default_factory=frozenset)
    people: Mapping[str, User] = field(default_factory=dict)
    knows_audiences: bool = True

    def authenticate(self, authorization: str | None) -> None:
        """Refuse credentials which are not known with 401."""
        if authorization is None and self.token is None:
            return
        if self.token is None or authorization != f"Bearer {self.token}":
            raise unauthorized()

    def authorize(self, info: RequestInfo) -> None:
        """Refuse a request which is denied with 403."""
        resource = info.kind.plural + (f"/{info.subresource}" if info.subresource else "")
        if self.allows(info.verb, resource):
            return
        where = f' in the namespace "{info.namespace}"' if info.namespace else ""
        raise forbidden(
            info.kind.group_resource,
            info.name,
            f'User "{USER}" cannot {info.verb} resource "{resource}" '
            f'in API group "{info.kind.group}"{where}',
        )

    def allows(self, verb: str, resource: str) -> bool:
        """Say whether a verb on a resource (or `resource/subresource`) is permitted."""
        asked = {f"{v} {r}" for v in (verb, "*") for r in (resource, "*")}
        return not asked & self.denied

    def _identify(self, spec: JsonObject) -> JsonObject:
        """Say whose token it is; one that was made for others is nobody's."""
        user = self.people.get(spec.get("token", ""))
        if self.token is not None and spec.get("token") == self.token:
            user = User(USER)
        wanted = spec.get("audiences") or [API_SERVER]
        fitting = [a for a in (user.audiences or (API_SERVER,)) if a in wanted] if user else []
        if user is None or (self.knows_audiences and not fitting):
            return {"authenticated": False, "error": "invalid bearer token"}
        groups = [*user.groups, "system:authenticated"]
        identity = {"username": user.name, "uid": f"uid-{user.name}", "groups": groups}
        status: JsonObject = {"authenticated": True, "user": identity}
        return status | ({"audiences": fitting} if self.knows_audiences else {})

    def _permits(self, spec: JsonObject) -> bool:
        asked = spec.get("resourceAttributes") or {}
        what = f"{asked.get('verb')} {asked.get('resource')}.{asked.get('group')}"
        where = (asked.get("namespace", ""), "*")
        wanted = {f"{what} {namespace}" for namespace in where}
        return any(u.may & wanted for u in self.people.values() if u.name == spec.get("user"))

    def review(self, kind: ResourceKind, body: JsonObject) -> JsonObject:
        """Answer an access or token review."""
        spec = body.get("spec") or {}
        status: JsonObject
        match kind.kind:
            case "TokenReview":
                status = self._identify(spec)
            case "SubjectAccessReview":
                status = {"allowed": self._permits(spec)}
            case "SelfSubjectRulesReview":
                status = {
                    "resourceRules": [
                        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
                    ],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                    # Rules only add up; a denial cannot be written as one.
                    "incomplete": bool(self.denied),
                }
            case _:
                asked = spec.get("resourceAttributes") or {}
                resource = asked.get("resource", "*")
                if asked.get("subresource"):
                    resource += f"/{asked['subresource']}"
                is_allowed = self.allows(asked.get("verb", "*"), resource)
                status = {"allowed": is_allowed}
                if not is_allowed:
                    status["reason"] = "denied by the fake's configuration"
        metadata = body.get("metadata") or {}
        return {
            **body,
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {**metadata, "creationTimestamp": None},
            "status": status,
        }
