"""Who may do what: one token, a set of denials, and the reviews that tell clients about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .objects.errors import forbidden, unauthorized

if TYPE_CHECKING:
    from .objects.kinds import ResourceKind
    from .objects.metadata import JsonObject
    from .serving.request_info import RequestInfo

USER = "system:serviceaccount:fake:client"


@dataclass(frozen=True, slots=True)
class Access:
    """The rule for all requests.

    Attributes:
        token: the only bearer token that is known; `None` lets requests without any token in.
        denied: what is forbidden, each as "verb resource" ("patch deployments",
            "update deployments/scale"); "*" stands for any verb or any resource.
    """

    token: str | None = None
    denied: frozenset[str] = field(default_factory=frozenset)

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

    def review(self, kind: ResourceKind, body: JsonObject) -> JsonObject:
        """Answer an access or token review."""
        spec = body.get("spec") or {}
        match kind.kind:
            case "TokenReview":
                is_known = self.token is not None and spec.get("token") == self.token
                status: JsonObject = {"authenticated": is_known}
                if is_known:
                    status["user"] = {"username": USER, "groups": ["system:authenticated"]}
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
